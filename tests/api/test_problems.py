"""Every answer that is not a success. That each is documented, the clients of `conftest` see to."""

import json
from urllib.parse import quote

import httpx2
import pytest

from tests.api.conftest import Json, a_body, an_item, place, put
from tests.api.contract import PROBLEM

SOME_ORDER = "0190c7b2-6f00-7000-8000-000000000001"
SECRET = "hunter2"  # noqa: S105 - what no answer may repeat


async def test_a_problem_has_every_member_that_its_reader_needs(http: httpx2.AsyncClient) -> None:
    order = await place(http)

    response = await put(http, order, "DELIVERED")

    assert response.headers["Content-Type"] == PROBLEM
    assert {
        "type": "urn:orders:problem:invalid_transition",
        "title": "Conflict",
        "status": 409,
        "detail": "Invalid status transition from PENDING to DELIVERED",
        "instance": f"/orders/{order['id']}/status",
        "code": "invalid_transition",
        "request_id": response.headers["X-Request-ID"],
        "current_status": "PENDING",
        "requested_status": "DELIVERED",
        "allowed_transitions": ["PROCESSING", "CANCELLED"],
    } == response.json()


async def test_a_validation_problem_lists_places_and_reasons(http: httpx2.AsyncClient) -> None:
    response = await http.post("/orders/", json=a_body(items=[an_item(quantity=0)]))

    reason = "Input should be greater than or equal to 1"
    assert {
        "type": "urn:orders:problem:invalid_request",
        "title": "Unprocessable Entity",
        "status": 422,
        "detail": f"body.items.0.quantity: {reason}",
        "instance": "/orders/",
        "code": "invalid_request",
        "request_id": response.headers["X-Request-ID"],
        "errors": [{"place": "body.items.0.quantity", "reason": reason}],
    } == response.json()


async def test_of_several_mistakes_the_detail_tells_the_first_and_the_number(
    http: httpx2.AsyncClient,
) -> None:
    response = await http.post("/orders/", json=a_body(items=[an_item(quantity=0), an_item(unit_price=0)]))

    assert response.json()["detail"].startswith("body.items.0.quantity: ")
    assert response.json()["detail"].endswith(" (and 1 more)")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/order", 404, "not_found"),
        ("POST", f"/orders/{SOME_ORDER}/cancel", 404, "not_found"),
        ("GET", "/static-offline-docs/missing.js", 404, "not_found"),
        ("PATCH", "/orders/", 405, "method_not_allowed"),
        ("PUT", f"/orders/{SOME_ORDER}", 405, "method_not_allowed"),
        ("GET", f"/orders/{SOME_ORDER}/status", 405, "method_not_allowed"),
        ("POST", "/health", 405, "method_not_allowed"),
    ],
)
async def test_what_the_api_does_not_serve_is_a_problem_too(
    http: httpx2.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    response = await http.request(method, path)

    assert (response.status_code, response.headers["Content-Type"]) == (status, PROBLEM)
    assert (response.json()["code"], response.json()["instance"]) == (code, path)
    assert response.json()["request_id"] == response.headers["X-Request-ID"]


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/health", {"GET"}),
        ("/docs", {"GET"}),
        ("/openapi.json", {"GET", "HEAD"}),
        ("/orders/", {"GET", "POST"}),
        (f"/orders/{SOME_ORDER}", {"GET", "DELETE"}),
        (f"/orders/{SOME_ORDER}/status", {"PUT"}),
    ],
)
async def test_a_wrong_method_is_told_every_right_one(
    http: httpx2.AsyncClient, path: str, methods: set[str]
) -> None:
    response = await http.request("PATCH", path)

    assert set(response.headers["Allow"].split(", ")) == methods


@pytest.mark.parametrize(
    "body",
    [
        a_body(customer_id=SECRET * 100),
        a_body(customer_id=[SECRET]),
        a_body(customer_id=f"{SECRET}\0"),
        a_body(currency=SECRET),
        a_body(items=SECRET),
        a_body(items=[SECRET]),
        a_body(items=[an_item(product_id={"password": SECRET})]),
        a_body(items=[an_item(quantity=SECRET)]),
        a_body(items=[an_item(unit_price=SECRET)]),
        a_body(note=SECRET),
        [SECRET],
        SECRET,
    ],
)
async def test_a_refusal_repeats_nothing_of_a_body(http: httpx2.AsyncClient, body: Json) -> None:
    response = await http.post("/orders/", json=body)

    assert response.status_code == 422
    assert SECRET not in response.text


@pytest.mark.parametrize("body", [f'{{"customer_id": "{SECRET}', f"{SECRET}", f'{{"{SECRET}": NaN}}'])
async def test_a_malformed_body_is_not_repeated_either(http: httpx2.AsyncClient, body: str) -> None:
    response = await http.post(
        "/orders/", content=body.encode(), headers={"Content-Type": "application/json"}
    )

    assert response.status_code == 400
    assert SECRET not in response.text


@pytest.mark.parametrize(
    "name", ["status", "customer_id", "created_after", "sort", "page", "limit", "cursor", "colour"]
)
async def test_a_refusal_repeats_nothing_of_a_query(http: httpx2.AsyncClient, name: str) -> None:
    response = await http.get("/orders/", params={name: SECRET * 50})

    assert response.status_code == 422
    assert SECRET not in response.text


@pytest.mark.parametrize(
    "body",
    [
        {"k" * 100_000: 1},
        {f"key-{number}": number for number in range(10_000)},
        {"items": [{} for _ in range(10_000)]},
    ],
    ids=["a huge key", "many keys", "many items"],
)
async def test_a_refusal_is_brief_however_much_is_wrong(http: httpx2.AsyncClient, body: Json) -> None:
    response = await http.post(
        "/orders/", content=json.dumps(body), headers={"Content-Type": "application/json"}
    )

    assert response.status_code == 422
    assert len(response.content) < 20_000


DECEIVING = "\u202e\u2066\x1b[31m\u200b"


async def test_a_long_path_comes_back_in_no_answer(http: httpx2.AsyncClient) -> None:
    response = await http.get("/" + SECRET * 8_000)

    assert response.status_code == 404
    assert SECRET not in response.text
    assert response.json()["detail"] == "Not Found"
    assert response.json()["instance"] == f"urn:uuid:{response.json()['request_id']}"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/nowhere/"), ("PATCH", "/orders/"), ("GET", "/orders/")]
)
async def test_what_deceives_a_reader_is_repeated_from_no_path(
    http: httpx2.AsyncClient, method: str, path: str
) -> None:
    response = await http.request(method, path + quote(DECEIVING))

    assert response.status_code in {404, 405, 422}
    assert all(character.isprintable() for character in response.text)
    assert response.json()["instance"] == path + quote(DECEIVING)


async def test_what_deceives_a_reader_is_escaped_in_the_name_of_a_key(http: httpx2.AsyncClient) -> None:
    in_body = await http.post("/orders/", json=a_body(**{DECEIVING: 1}))
    in_query = await http.get("/orders/", params={DECEIVING: "1"})

    for response in (in_body, in_query):
        assert response.status_code == 422
        assert all(character.isprintable() for character in response.text)
        (error,) = response.json()["errors"]
        assert error["place"].endswith(".\\u202e\\u2066\\x1b[31m\\u200b")
