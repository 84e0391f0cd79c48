"""GET /orders/."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from api.cursors import Cursor
from database.projection import project
from database.queries import MOST_LINES, OrderFilter
from orders.limits import MAX_ITEMS
from orders.order import OrderKey
from tests.api.callers import with_its_own_database
from tests.api.conftest import Json, api_of, move, place
from tests.builders import a_place_order, a_record, an_item
from tests.system import System, a_customer

TIME = (
    "must be a time of RFC 3339 with a zone and at most 6 decimals, such as 2026-01-31T09:30:00Z "
    "(in an address, + is written %2B)"
)


async def some_orders(http: httpx2.AsyncClient, number: int, *moves: str) -> list[Json]:
    """Orders of one new customer, oldest first, each moved on."""
    customer = a_customer()
    orders = [await place(http, customer_id=customer) for _ in range(number)]
    return [await move(http, order, *moves) for order in orders]


async def listed(http: httpx2.AsyncClient, **query: Any) -> Json:  # noqa: ANN401 - whatever a query may hold
    response = await http.get("/orders/", params=query)
    assert response.status_code == 200, response.text
    page: Json = response.json()
    return page


def ids(orders: list[Json]) -> list[str]:
    return [order["id"] for order in orders]


async def walk(http: httpx2.AsyncClient, **query: Any) -> list[str]:  # noqa: ANN401 - as above
    """Follow the cursors from the first page to the last, or for ten pages; every id, as it appears."""
    page = await listed(http, **query)
    seen = ids(page["orders"])
    for _ in range(10):
        if page["next_cursor"] is None:
            break
        page = await listed(http, **query, cursor=page["next_cursor"])
        seen += ids(page["orders"])
    return seen


async def test_orders_are_listed_newest_first_and_as_they_are_read(http: httpx2.AsyncClient) -> None:
    older, newer = await some_orders(http, 2)

    page = await listed(http, customer_id=older["customer_id"])

    assert {
        "orders": [newer, older],
        "total": 2,
        "page": 1,
        "limit": 50,
        "has_next": False,
        "has_prev": False,
        "next_cursor": None,
    } == page


@pytest.mark.parametrize("path", ["/orders", "/orders/"])
async def test_the_list_is_served_with_and_without_the_last_slash(
    http: httpx2.AsyncClient, path: str
) -> None:
    assert (await http.get(path)).status_code == 200


async def test_nobodys_orders_are_an_empty_page(http: httpx2.AsyncClient) -> None:
    page = await listed(http, customer_id=a_customer())

    assert (page["orders"], page["total"], page["has_next"], page["has_prev"]) == ([], 0, False, False)


@pytest.mark.parametrize(("sort", "step"), [("created_at", 1), ("-created_at", -1)])
async def test_either_end_of_the_list_may_come_first(http: httpx2.AsyncClient, sort: str, step: int) -> None:
    orders = await some_orders(http, 3)

    page = await listed(http, customer_id=orders[0]["customer_id"], sort=sort)

    assert ids(page["orders"]) == ids(orders)[::step]


async def test_the_list_may_be_narrowed_to_one_status_or_several(http: httpx2.AsyncClient) -> None:
    customer = a_customer()
    pending = await place(http, customer_id=customer)
    shipped = await move(http, await place(http, customer_id=customer), "PROCESSING", "SHIPPED")
    await move(http, await place(http, customer_id=customer), "CANCELLED")

    one = await listed(http, customer_id=customer, status="SHIPPED")
    several = await listed(http, customer_id=customer, status=["PENDING", "SHIPPED", "SHIPPED"])

    assert (ids(one["orders"]), one["total"]) == ([shipped["id"]], 1)
    assert (ids(several["orders"]), several["total"]) == ([shipped["id"], pending["id"]], 2)


async def test_a_span_of_time_has_its_start_and_not_its_end(http: httpx2.AsyncClient) -> None:
    first, second, third = await some_orders(http, 3)

    page = await listed(
        http,
        customer_id=first["customer_id"],
        created_after=first["created_at"],
        created_before=third["created_at"],
    )

    assert ids(page["orders"]) == [second["id"], first["id"]]


async def test_pages_hold_every_order_once(http: httpx2.AsyncClient) -> None:
    orders = await some_orders(http, 5)
    customer = orders[0]["customer_id"]

    pages = [await listed(http, customer_id=customer, page=number, limit=2) for number in (1, 2, 3)]

    assert [ids(page["orders"]) for page in pages] == [
        ids(orders)[:2:-1],
        ids(orders)[2:0:-1],
        ids(orders)[:1],
    ]
    assert {page["total"] for page in pages} == {5}
    assert [(page["has_prev"], page["has_next"]) for page in pages] == [
        (False, True),
        (True, True),
        (True, False),
    ]


async def test_a_page_beyond_the_last_is_empty(http: httpx2.AsyncClient) -> None:
    orders = await some_orders(http, 1)

    page = await listed(http, customer_id=orders[0]["customer_id"], page=1_000_000, limit=1_000)

    assert (page["orders"], page["total"], page["has_prev"], page["has_next"]) == ([], 1, True, False)


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
@pytest.mark.parametrize(("sort", "step"), [("created_at", 1), ("-created_at", -1)])
async def test_cursors_lead_through_every_order_once(
    http: httpx2.AsyncClient, limit: int, sort: str, step: int
) -> None:
    orders = await some_orders(http, 3)

    seen = await walk(http, customer_id=orders[0]["customer_id"], limit=limit, sort=sort)

    assert seen == ids(orders)[::step]


async def test_a_page_by_cursor_counts_nothing(http: httpx2.AsyncClient) -> None:
    orders = await some_orders(http, 3)
    first = await listed(http, customer_id=orders[0]["customer_id"], limit=1)

    page = await listed(http, customer_id=orders[0]["customer_id"], limit=1, cursor=first["next_cursor"])

    assert (page["total"], page["page"], page["has_prev"], page["has_next"]) == (None, None, True, True)


async def test_a_walk_by_cursor_is_not_disturbed_by_what_arrives_or_changes(http: httpx2.AsyncClient) -> None:
    orders = await some_orders(http, 4)
    customer = orders[0]["customer_id"]
    first = await listed(http, customer_id=customer, limit=2)

    await asyncio.gather(
        place(http, customer_id=customer),
        move(http, orders[0], "PROCESSING"),
        move(http, orders[3], "CANCELLED"),
    )
    rest = await listed(http, customer_id=customer, limit=2, cursor=first["next_cursor"])

    assert ids(first["orders"]) + ids(rest["orders"]) == ids(orders)[::-1]
    assert rest["next_cursor"] is None


async def test_a_cursor_starts_at_any_numbered_page(http: httpx2.AsyncClient) -> None:
    orders = await some_orders(http, 3)
    customer = orders[0]["customer_id"]

    second = await listed(http, customer_id=customer, page=2, limit=1)
    third = await listed(http, customer_id=customer, limit=1, cursor=second["next_cursor"])

    assert ids(third["orders"]) == [orders[0]["id"]]


@pytest.mark.parametrize("limit", [1, 1_000])
async def test_a_page_may_hold_from_one_to_a_thousand_orders(http: httpx2.AsyncClient, limit: int) -> None:
    assert (await listed(http, limit=limit))["limit"] == limit


@pytest.mark.parametrize(
    ("query", "place_of_error"),
    [
        ("limit=0", "query.limit"),
        ("limit=1001", "query.limit"),
        ("limit=-1", "query.limit"),
        ("limit=ten", "query.limit"),
        ("page=0", "query.page"),
        ("page=1000001", "query.page"),
        ("page=1.5", "query.page"),
        ("status=LOST", "query.status.0"),
        ("status=PENDING&status=pending", "query.status.1"),
        ("status=", "query.status.0"),
        ("customer_id=", "query.customer_id"),
        (f"customer_id={'x' * 256}", "query.customer_id"),
        ("sort=total_amount", "query.sort"),
        ("created_after=yesterday", "query.created_after"),
        ("created_after=2026-01-01T00:00:00", "query.created_after"),
        ("created_before=2026-13-01T00:00:00Z", "query.created_before"),
        ("colour=red", "query.colour"),
        ("offset=10", "query.offset"),
        (f"cursor={'x' * 201}", "query.cursor"),
        ("cursor=", "query.cursor"),
        ("cursor=bm90IGEgY3Vyc29y", "query.cursor"),
        ("cursor=%ff", "query.cursor"),
    ],
)
async def test_a_query_that_has_no_meaning_is_refused_and_its_place_named(
    http: httpx2.AsyncClient, query: str, place_of_error: str
) -> None:
    response = await http.get(f"/orders/?{query}")

    assert response.status_code == 422
    assert [error["place"] for error in response.json()["errors"]] == [place_of_error]


@pytest.mark.parametrize(
    "query",
    [
        "customer_id=%00",
        "created_after=0001-01-01T00:00:00%2B23:59",
        "created_before=9999-12-31T23:59:59-23:59",
    ],
)
async def test_a_value_that_postgresql_cannot_hold_is_the_callers_mistake(
    http: httpx2.AsyncClient, query: str
) -> None:
    assert (await http.get(f"/orders/?{query}")).status_code == 422


async def test_a_page_and_a_cursor_exclude_each_other(http: httpx2.AsyncClient) -> None:
    orders = await some_orders(http, 2)
    query = {"customer_id": orders[0]["customer_id"], "limit": 1}
    cursor = (await listed(http, **query))["next_cursor"]

    response = await http.get("/orders/", params=query | {"cursor": cursor, "page": 2})

    assert response.status_code == 422
    assert response.json()["detail"] == "query: page and cursor exclude each other"


async def test_what_is_allowed_is_documented(http: httpx2.AsyncClient) -> None:
    call = (await http.get("/openapi.json")).json()["paths"]["/orders/"]["get"]
    schemas = {parameter["name"]: parameter["schema"] for parameter in call["parameters"]}

    assert set(schemas["sort"]["enum"]) == {"created_at", "-created_at"}
    assert {"type": "integer", "minimum": 1, "maximum": 1_000_000} in schemas["page"]["anyOf"]
    assert {"type": "integer", "minimum": 1, "maximum": 1_000}.items() <= schemas["limit"].items()
    assert {"type": "string", "format": "date-time"} in schemas["created_after"]["anyOf"]


NO_CURSOR = "is not a cursor of this list"
OF_ANOTHER_LIST = "belongs to a list with other filters or another sort, or has been changed"


async def refusal(http: httpx2.AsyncClient, **query: Any) -> list[Json]:  # noqa: ANN401 - as above
    """What is wrong with a query that is refused."""
    response = await http.get("/orders/", params=query)
    assert response.status_code == 422, response.text
    errors: list[Json] = response.json()["errors"]
    return errors


@pytest.mark.parametrize(
    "other",
    [
        {"sort": "created_at"},
        {"customer_id": None},
        {"customer_id": "somebody-else"},
        {"status": "PENDING"},
        {"created_after": "2026-01-01T00:00:00Z"},
        {"created_before": "9000-01-01T00:00:00Z"},
    ],
    ids=str,
)
async def test_a_cursor_serves_only_the_list_in_which_it_was_given(
    http: httpx2.AsyncClient, other: Json
) -> None:
    orders = await some_orders(http, 2)
    query = {"customer_id": orders[0]["customer_id"], "limit": 1}
    cursor = (await listed(http, **query))["next_cursor"]
    changed = {name: value for name, value in (query | other).items() if value is not None}

    assert await refusal(http, **changed, cursor=cursor) == [
        {"place": "query.cursor", "reason": OF_ANOTHER_LIST}
    ]


async def test_a_cursor_serves_pages_of_any_length_and_the_same_filters_however_written(
    http: httpx2.AsyncClient,
) -> None:
    orders = await some_orders(http, 3)
    query = {"customer_id": orders[0]["customer_id"]}
    cursor = (
        await listed(
            http, **query, limit=1, status=["PENDING", "SHIPPED"], created_after="2026-01-01T00:00:00Z"
        )
    )["next_cursor"]

    rest = await listed(
        http,
        **query,
        limit=2,
        status=["SHIPPED", "PENDING", "SHIPPED"],
        created_after="2026-01-01T01:00:00.000+01:00",
        sort="-created_at",
        cursor=cursor,
    )

    assert ids(rest["orders"]) == [orders[1]["id"], orders[0]["id"]]


async def test_no_character_of_a_cursor_can_be_changed(http: httpx2.AsyncClient) -> None:
    orders = await some_orders(http, 2)
    query = {"customer_id": orders[0]["customer_id"], "limit": 1}
    cursor = (await listed(http, **query))["next_cursor"]

    for position, character in enumerate(cursor):
        for other in {"A", "Q", "_", "+", " "} - {character}:
            changed = cursor[:position] + other + cursor[position + 1 :]
            [error] = await refusal(http, **query, cursor=changed)
            assert error["place"] == "query.cursor"
            assert error["reason"] in {NO_CURSOR, OF_ANOTHER_LIST}
    for changed in (cursor[:-1], cursor[1:], f"{cursor}=", cursor.swapcase(), cursor[::-1]):
        [error] = await refusal(http, **query, cursor=changed)
        assert error["place"] == "query.cursor"


async def test_a_position_that_somebody_has_made_up_is_none(http: httpx2.AsyncClient) -> None:
    orders = await some_orders(http, 2)
    customer = orders[0]["customer_id"]
    placed_at = datetime.fromisoformat(orders[1]["created_at"])
    wanted = OrderFilter(customer_id=customer)
    genuine = OrderKey(created_at=placed_at, order_id=UUID(orders[1]["id"]))

    def written(key: OrderKey) -> str:
        return Cursor.of(key, wanted, newest_first=True).encode()

    page = await listed(http, customer_id=customer, cursor=written(genuine))
    assert ids(page["orders"]) == [orders[0]["id"]]
    for made_up in (
        replace(genuine, order_id=uuid4()),
        replace(genuine, created_at=placed_at + timedelta(microseconds=1)),
        replace(genuine, created_at=datetime.max.replace(tzinfo=UTC)),
        replace(genuine, created_at=datetime.min.replace(tzinfo=UTC)),
    ):
        assert await refusal(http, customer_id=customer, cursor=written(made_up)) == [
            {"place": "query.cursor", "reason": NO_CURSOR}
        ]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("sort=total_amount", "Input should be '-created_at' or 'created_at'"),
        ("sort=", "Input should be '-created_at' or 'created_at'"),
        ("created_after=0", TIME),
        ("created_after=1767225600", TIME),
        ("created_before=-1", TIME),
        ("created_before=2026-01-01", TIME),
        ("created_before=2026-01-01T00:00:00", TIME),
        ("created_before=2026-01-01T00:00Z", TIME),
        ("created_before=2026-01-01T00:00:00.1234567Z", TIME),
        ("created_before=2026-01-01T00:00:00+01:00", TIME),
        ("limit=1.0", "must be a whole number in digits"),
        ("limit=1_0", "must be a whole number in digits"),
        ("limit=%2B1", "must be a whole number in digits"),
        ("page=%201", "must be a whole number in digits"),
        ("cursor=", NO_CURSOR),
    ],
)
async def test_a_refusal_says_what_is_allowed(http: httpx2.AsyncClient, query: str, reason: str) -> None:
    response = await http.get(f"/orders/?{query}")

    assert response.status_code == 422
    place = f"query.{query.partition('=')[0]}"
    assert response.json()["errors"] == [{"place": place, "reason": reason}]


@pytest.mark.parametrize(
    "name", ["customer_id", "created_after", "created_before", "sort", "page", "limit", "cursor"]
)
@pytest.mark.parametrize("second", ["1", "2"])
async def test_what_means_one_thing_is_given_once(http: httpx2.AsyncClient, name: str, second: str) -> None:
    response = await http.get(f"/orders/?{name}=1&{name}={second}")

    assert response.status_code == 422
    assert response.json()["errors"] == [{"place": f"query.{name}", "reason": "must be given once"}]


@pytest.mark.parametrize(
    "written", ["2026-01-01T00:00:00Z", "2026-01-01t00:00:00.5z", "2026-01-01 01:00:00.123456+01:00"]
)
async def test_a_time_may_be_written_in_every_way_of_the_standard(
    http: httpx2.AsyncClient, written: str
) -> None:
    await listed(http, created_after=written, limit=1)


async def test_a_page_has_no_more_lines_than_are_read_at_once(system: System) -> None:
    customer = a_customer()
    items = [an_item() for _ in range(MAX_ITEMS)]
    async with with_its_own_database(system) as own, api_of(own) as http:
        for _ in range(MOST_LINES // MAX_ITEMS + 2):
            await project(own.engine, a_record(placing=a_place_order(*items, customer_id=customer)))

        first = await listed(http, customer_id=customer)
        then = await listed(http, customer_id=customer, cursor=first["next_cursor"], limit=1_000)
        one = await listed(http, customer_id=customer, limit=1)
        too_much = [
            await http.get("/orders/", params={"customer_id": customer, "limit": 1_000, **query})
            for query in ({}, {"cursor": one["next_cursor"]})
        ]

    assert (first["total"], len(first["orders"]), len(then["orders"])) == (53, 50, 3)
    assert [answer.status_code for answer in too_much] == [422, 422]
    assert too_much[0].json()["detail"] == (
        "query.limit: the orders of this page have more than 25500 lines; ask for fewer at once"
    )
