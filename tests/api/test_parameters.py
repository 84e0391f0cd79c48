"""What a call's query may say: what it declares, each as often as it declares."""

from uuid import UUID, uuid4

import httpx2
import pytest

from orders.status import OrderStatus
from tests.api.conftest import a_body, place, read

CALLS = [
    ("POST", "/orders/"),
    ("GET", "/orders/"),
    ("GET", "/orders/{}"),
    ("GET", "/orders/{}/history"),
    ("GET", "/orders/{}/explain"),
    ("PUT", "/orders/{}/status"),
    ("DELETE", "/orders/{}"),
]
WRITES = [call for call in CALLS if call[0] != "GET"]
BODIES = {"PUT": {"status": "PROCESSING"}}


async def ask(http: httpx2.AsyncClient, call: tuple[str, str], query: str) -> httpx2.Response:
    """Make a call on an order that exists, with a body that would do, and this query."""
    method, path = call
    order = await place(http)
    body = a_body() if method == "POST" else BODIES.get(method)
    answer = await http.request(method, f"{path.format(order['id'])}?{query}", json=body)
    assert answer.status_code == 200 or await read(http, order) == order
    return answer


def places(answer: httpx2.Response) -> dict[str, str]:
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    return {error["place"]: error["reason"] for error in answer.json()["errors"]}


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
async def test_a_parameter_that_a_call_does_not_have_is_refused_by_name(
    http: httpx2.AsyncClient, call: tuple[str, str]
) -> None:
    answer = await ask(http, call, "dryrun=true&limit_=1")

    assert places(answer) == {
        "query.dryrun": "There is no such parameter",
        "query.limit_": "There is no such parameter",
    }


@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_typo_never_places_an_order(http: httpx2.AsyncClient, slash: str) -> None:
    body = a_body()

    answer = await http.post(f"/orders{slash}?dryrun=true", json=body)
    listed = await http.get("/orders/", params={"customer_id": str(body["customer_id"])})

    assert places(answer) == {"query.dryrun": "There is no such parameter"}
    assert listed.json()["total"] == 0


@pytest.mark.parametrize("call", WRITES, ids=" ".join)
@pytest.mark.parametrize("second", ["true", "false"])
async def test_a_parameter_given_twice_is_refused_even_where_both_agree(
    http: httpx2.AsyncClient, call: tuple[str, str], second: str
) -> None:
    answer = await ask(http, call, f"dry_run=true&dry_run={second}")

    assert places(answer) == {"query.dry_run": "must be given once"}


@pytest.mark.parametrize("call", WRITES, ids=" ".join)
@pytest.mark.parametrize("value", ["maybe", "", "2", "TRUE%00", "null"])
async def test_a_dry_run_is_asked_for_clearly_or_not_at_all(
    http: httpx2.AsyncClient, call: tuple[str, str], value: str
) -> None:
    answer = await ask(http, call, f"dry_run={value}")

    assert list(places(answer)) == ["query.dry_run"]


@pytest.mark.parametrize("query", ["Dry_run=true", "dry_run%20=true", "dry-run=true", "&&dry_run[]=true"])
async def test_a_name_is_taken_to_the_letter(http: httpx2.AsyncClient, query: str) -> None:
    answer = await ask(http, ("DELETE", "/orders/{}"), query)

    assert list(places(answer).values()) == ["There is no such parameter"]


async def test_a_header_or_a_part_of_the_path_is_no_parameter_of_the_query(http: httpx2.AsyncClient) -> None:
    answer = await ask(http, ("DELETE", "/orders/{}"), f"order_id={uuid4()}&If-Match=1&prefer=x")

    assert set(places(answer)) == {"query.order_id", "query.If-Match", "query.prefer"}


async def test_a_parameter_that_may_be_repeated_may(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/orders/?status=PENDING&status=SHIPPED&limit=1")

    assert answer.status_code == 200


async def test_every_other_parameter_of_a_list_is_given_once(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/orders/?limit=1&limit=1&page=1&page=2&status=PENDING&status=SHIPPED")

    assert places(answer) == {"query.limit": "must be given once", "query.page": "must be given once"}


async def test_a_query_is_judged_before_the_body_is_read(http: httpx2.AsyncClient) -> None:
    answer = await http.post("/orders/?pigs=1", content=b"\xff", headers={"Content-Type": "text/plain"})

    assert list(places(answer)) == ["query.pigs"]


async def test_a_query_of_many_and_long_names_is_answered_briefly(http: httpx2.AsyncClient) -> None:
    many = "&".join(f"pig{number}=1" for number in range(500))

    answer = await http.get(f"/orders/{UUID(int=0)}?{'x' * 10_000}=1&{many}")

    assert answer.json()["detail"].endswith("(and 500 more)")
    assert len(answer.json()["errors"]) == 20
    assert len(answer.content) < 4_000


async def test_the_links_of_a_list_do_not_grow_with_what_is_repeated(http: httpx2.AsyncClient) -> None:
    all_five = "&".join(f"status={status}" for status in OrderStatus)

    answer = await http.get(f"/orders/?{all_five}")
    beyond = await http.get(f"/orders/?{all_five}&status=PENDING")

    assert answer.status_code == 200
    assert places(beyond) == {"query.status": "List should have at most 5 items after validation, not 6"}


async def test_the_lines_of_a_field_that_may_be_repeated_are_one_value(http: httpx2.AsyncClient) -> None:
    order = await place(http)

    answer = await http.get(
        f"/orders/{order['id']}", headers=[("If-None-Match", '"9"'), ("If-None-Match", '"1"')]
    )

    assert answer.status_code == 304


@pytest.mark.parametrize("second", ["the-first", "the-second"])
async def test_an_idempotency_key_given_twice_places_nothing(http: httpx2.AsyncClient, second: str) -> None:
    body = a_body()

    keys = [("Idempotency-Key", "the-first"), ("Idempotency-Key", second)]
    answer = await http.post("/orders/", json=body, headers=keys)
    listed = await http.get("/orders/", params={"customer_id": str(body["customer_id"])})

    assert list(places(answer)) == ["header.Idempotency-Key"]
    assert listed.json()["total"] == 0


async def test_an_order_is_changed_by_no_version_among_several(http: httpx2.AsyncClient) -> None:
    order = await place(http)

    answer = await http.delete(f"/orders/{order['id']}", headers=[("If-Match", '"1"'), ("If-Match", '"9"')])

    assert list(places(answer)) == ["header.If-Match"]
    assert await read(http, order) == order
