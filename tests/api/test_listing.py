"""GET /orders/."""

import asyncio
from typing import Any

import httpx2
import pytest

from tests.api.conftest import Json, move, place
from tests.system import a_customer


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
        ("cursor=", "query"),
        ("cursor=bm90IGEgY3Vyc29y", "query"),
        ("cursor=%ff", "query"),
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


async def test_a_cursor_serves_only_the_order_in_which_it_was_given(http: httpx2.AsyncClient) -> None:
    orders = await some_orders(http, 2)
    query = {"customer_id": orders[0]["customer_id"], "limit": 1}
    cursor = (await listed(http, **query))["next_cursor"]

    response = await http.get("/orders/", params=query | {"cursor": cursor, "sort": "created_at"})

    assert response.status_code == 422
    assert response.json()["detail"] == "query: cursor belongs to the other sort"
