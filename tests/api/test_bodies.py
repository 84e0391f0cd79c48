"""What a body must be before any schema looks at it."""

import json
from uuid import uuid4

import httpx2
import pytest

from tests.api.conftest import a_body

GOOD = json.dumps(a_body())
AS_JSON = {"Content-Type": "application/json"}
DEEP = 100_000


def with_price(price: str) -> str:
    return GOOD.replace("999.99", price)


MALFORMED = {
    "cut off": GOOD[:-1],
    "text after it": GOOD + "!",
    "blank": " ",
    "single quotes": GOOD.replace('"', "'"),
    "NaN": with_price("NaN"),
    "Infinity": with_price("-Infinity"),
    "a number nobody can hold": with_price("1e99999999999999999999"),
    "a number with too many digits": with_price("9" * 5_000),
    "a key twice": '{"customer_id": "ann", ' + GOOD[1:],
    "a key twice, deeper": GOOD.replace('"quantity": 1', '"quantity": 1, "quantity": 2'),
    "deep arrays": "[" * DEEP + "]" * DEEP,
    "deep objects": '{"items":' * DEEP + "1" + "}" * DEEP,
    "a byte order mark": "\ufeff" + GOOD,
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_is_not_json_is_a_bad_request(http: httpx2.AsyncClient, body: str) -> None:
    response = await http.post("/orders/", content=body.encode(), headers=AS_JSON)

    assert response.status_code == 400
    assert response.json()["code"] == "malformed_body"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
async def test_what_is_not_utf_8_is_a_bad_request(http: httpx2.AsyncClient, encoding: str) -> None:
    body = json.dumps(a_body(customer_id="Zoë"), ensure_ascii=False).encode(encoding)

    response = await http.post("/orders/", content=body, headers=AS_JSON)

    assert response.status_code == 400
    assert response.json()["detail"] == "The body is not UTF-8"


async def test_a_malformed_body_is_explained_in_the_words_of_json(http: httpx2.AsyncClient) -> None:
    response = await http.post("/orders/", content=b'{"customer_id": }', headers=AS_JSON)

    assert response.json()["detail"] == "The body is not JSON: Expecting value at line 1 column 17"


async def test_a_number_with_too_many_digits_is_explained_without_words_of_python(
    http: httpx2.AsyncClient,
) -> None:
    response = await http.post("/orders/", content=with_price("9" * 5_000).encode(), headers=AS_JSON)

    assert "sys." not in response.json()["detail"]


@pytest.mark.parametrize("body", ["", "[]", "null", "7", '"order"', "{}"])
async def test_json_that_is_no_order_is_refused(http: httpx2.AsyncClient, body: str) -> None:
    response = await http.post("/orders/", content=body.encode(), headers=AS_JSON)

    assert response.status_code == 422
    assert all(error["place"].startswith("body") for error in response.json()["errors"])


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml"])
async def test_a_body_that_does_not_say_that_it_is_json_is_refused(
    http: httpx2.AsyncClient, media_type: str
) -> None:
    response = await http.post("/orders/", content=GOOD.encode(), headers={"Content-Type": media_type})

    assert response.status_code == 415


async def test_a_body_that_says_nothing_of_its_kind_is_refused(http: httpx2.AsyncClient) -> None:
    assert (await http.post("/orders/", content=GOOD.encode())).status_code == 415


@pytest.mark.parametrize("text", ['{"status": "PROCESSING"', '{"status": NaN}', '{"status": 1, "status": 2}'])
async def test_a_change_of_status_is_read_as_strictly(http: httpx2.AsyncClient, text: str) -> None:
    response = await http.put(f"/orders/{uuid4()}/status", content=text.encode(), headers=AS_JSON)

    assert (response.status_code, response.json()["code"]) == (400, "malformed_body")


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace('"customer_id": "', '"customer_id": "\\ud800'),
        GOOD.replace('"laptop"', '"\\udfff"'),
        '{"\\ud800": 1, ' + GOOD[1:],
    ],
)
async def test_half_a_character_is_refused(http: httpx2.AsyncClient, text: str) -> None:
    assert (await http.post("/orders/", content=text.encode(), headers=AS_JSON)).status_code == 422


async def test_a_price_is_never_a_float_inside(http: httpx2.AsyncClient) -> None:
    response = await http.post(
        "/orders/",
        content=with_price("0.10000000000000000001").encode(),  # as a float it would be 0.1
        headers=AS_JSON,
    )

    assert response.status_code == 422
    assert response.json()["detail"] == "body.items.0.unit_price: must have at most 2 decimals in USD"
