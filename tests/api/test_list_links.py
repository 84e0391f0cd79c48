"""The `Link` header of GET /orders/ (RFC 8288)."""

import asyncio
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.listing import LAST_PAGE_NUMBER, ListQuery, neighbours
from tests.api.conftest import Json, move, place
from tests.api.contract import Contract
from tests.api.test_listing import ids, listed, some_orders
from tests.system import a_customer

Query = list[tuple[str, str]]


async def links(http: httpx2.AsyncClient, **query: Any) -> dict[str, Query]:  # noqa: ANN401 - whatever a query may hold
    """The query of each link of a page, by relation."""
    response = await http.get("/orders/", params=query)
    assert response.status_code == 200, response.text
    return {relation: query_of(link["url"]) for relation, link in response.links.items() if relation}


def query_of(address: str) -> Query:
    parts = urlsplit(address)
    assert (parts.scheme, parts.netloc, parts.path, parts.fragment) == ("", "", "/orders/", "")
    return parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True, encoding="utf-8")


async def follow(http: httpx2.AsyncClient, relation: str, address: str) -> list[Json]:
    """The pages from an address on, along one relation."""
    pages: list[Json] = []
    while len(pages) < 20:
        response = await http.get(address)
        assert response.status_code == 200, response.text
        pages.append(response.json())
        if relation not in response.links:
            return pages
        address = response.links[relation]["url"]
    raise AssertionError("the links have no end")


def all_ids(pages: list[Json]) -> list[str]:
    return [order_id for page in pages for order_id in ids(page["orders"])]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 7])
@pytest.mark.parametrize(("sort", "step"), [("created_at", 1), ("-created_at", -1)])
async def test_following_next_leads_through_every_order_once(
    http: httpx2.AsyncClient, limit: int, sort: str, step: int
) -> None:
    orders = await some_orders(http, 5)
    query = {"customer_id": orders[0]["customer_id"], "limit": limit, "sort": sort}
    first = await listed(http, **query)
    cursor = first["next_cursor"] or ""

    by_number = await follow(http, "next", str(httpx2.URL("/orders/", params=query)))

    assert all_ids(by_number) == ids(orders)[::step]
    assert [page["page"] for page in by_number] == list(range(1, len(by_number) + 1))
    if cursor:
        by_cursor = await follow(http, "next", str(httpx2.URL("/orders/", params=query | {"cursor": cursor})))
        assert ids(first["orders"]) + all_ids(by_cursor) == ids(orders)[::step]
        assert {page["page"] for page in by_cursor} == {None}


async def test_following_prev_leads_back_to_the_first_page(http: httpx2.AsyncClient) -> None:
    orders = await some_orders(http, 5)
    query = {"customer_id": orders[0]["customer_id"], "limit": 2, "page": 9}

    pages = await follow(http, "prev", str(httpx2.URL("/orders/", params=query)))

    assert [page["page"] for page in pages] == [9, 3, 2, 1]
    assert sorted(all_ids(pages)) == sorted(ids(orders))


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (1, {"first": 1, "next": 2, "last": 3}),
        (2, {"first": 1, "prev": 1, "next": 3, "last": 3}),
        (3, {"first": 1, "prev": 2, "last": 3}),
        (4, {"first": 1, "prev": 3, "last": 3}),
        (1_000_000, {"first": 1, "prev": 3, "last": 3}),
    ],
)
async def test_a_page_has_the_links_that_lead_somewhere(
    http: httpx2.AsyncClient, page: int, expected: dict[str, int]
) -> None:
    customer = (await some_orders(http, 5))[0]["customer_id"]

    found = await links(http, customer_id=customer, limit=2, page=page)

    same = [("customer_id", customer), ("limit", "2")]
    assert {relation: [*same, ("page", str(number))] for relation, number in expected.items()} == found


async def test_a_full_last_page_is_the_last(http: httpx2.AsyncClient) -> None:
    customer = (await some_orders(http, 4))[0]["customer_id"]

    assert list(await links(http, customer_id=customer, limit=2, page=2)) == ["first", "prev", "last"]


@pytest.mark.parametrize(("page", "relations"), [(1, ["first", "last"]), (7, ["first", "prev", "last"])])
async def test_an_empty_list_has_one_page(http: httpx2.AsyncClient, page: int, relations: list[str]) -> None:
    found = await links(http, customer_id=a_customer(), page=page)

    assert list(found) == relations
    assert {dict(query)["page"] for query in found.values()} == {"1"}


async def test_a_page_by_cursor_leads_on_by_cursor_until_the_last(http: httpx2.AsyncClient) -> None:
    customer = (await some_orders(http, 3))[0]["customer_id"]
    first = await listed(http, customer_id=customer, limit=1)
    second = await listed(http, customer_id=customer, limit=1, cursor=first["next_cursor"])
    same = [("customer_id", customer), ("limit", "1")]

    assert await links(http, customer_id=customer, limit=1, cursor=first["next_cursor"]) == {
        "first": [*same, ("page", "1")],
        "next": [*same, ("cursor", second["next_cursor"])],
    }
    assert list(await links(http, customer_id=customer, limit=1, cursor=second["next_cursor"])) == ["first"]


async def test_links_keep_every_filter_the_sort_and_the_limit(http: httpx2.AsyncClient) -> None:
    customer = f'ann & bob/ü?#<>"%,;=+𝄞\\{a_customer()}'
    orders = [await place(http, customer_id=customer) for _ in range(3)]
    await asyncio.gather(*(move(http, order, "PROCESSING") for order in orders[::2]))
    query = {
        "status": ["PROCESSING", "PENDING"],
        "customer_id": customer,
        "created_after": "2026-01-01T01:00:00.123456+01:00",
        "created_before": "9000-01-01T00:00:00Z",
        "sort": "created_at",
        "limit": 1,
    }

    pages = await follow(http, "next", str(httpx2.URL("/orders/", params=query)))
    found = await links(http, **query)

    assert all_ids(pages) == ids(orders)
    assert sorted(found["next"]) == sorted(
        [
            ("status", "PROCESSING"),
            ("status", "PENDING"),
            ("customer_id", customer),
            ("created_after", "2026-01-01T00:00:00.123456Z"),
            ("created_before", "9000-01-01T00:00:00Z"),
            ("sort", "created_at"),
            ("limit", "1"),
            ("page", "2"),
        ]
    )


@given(st.text(min_size=1))
def test_a_reference_is_written_in_characters_that_a_header_and_a_link_may_hold(customer: str) -> None:
    reference = ListQuery.model_construct({"customer_id"}, customer_id=customer).reference(page=1)

    assert reference.isascii()
    assert reference.isprintable()
    assert not set(reference) & set('<>", ;+\\')
    assert query_of(reference) == [("customer_id", customer), ("page", "1")]


def test_where_page_numbers_end_the_next_page_is_found_by_cursor() -> None:
    query = ListQuery(limit=1)
    total = LAST_PAGE_NUMBER + 5

    before = neighbours(query, LAST_PAGE_NUMBER - 1, total, "CURSOR")
    at_end = neighbours(query, LAST_PAGE_NUMBER, total, "CURSOR")
    exactly = neighbours(query, LAST_PAGE_NUMBER, LAST_PAGE_NUMBER, None)

    assert before["next"] == f"/orders/?limit=1&page={LAST_PAGE_NUMBER}"
    assert at_end == {
        "first": "/orders/?limit=1&page=1",
        "prev": f"/orders/?limit=1&page={LAST_PAGE_NUMBER - 1}",
        "next": "/orders/?limit=1&cursor=CURSOR",
    }
    assert list(exactly) == ["first", "prev", "last"]


async def test_the_header_is_documented(http: httpx2.AsyncClient) -> None:
    contract = Contract((await http.get("/openapi.json")).json())
    headers = contract.document["paths"]["/orders/"]["get"]["responses"]["200"]["headers"]
    response = await http.get("/orders/", params={"customer_id": a_customer(), "limit": 50})

    assert set(headers) >= {"Link", "X-Request-ID"}
    assert headers["Link"]["example"].count("; rel=") == 2
    shown = response.headers["Link"]
    assert [part.split("; ")[1] for part in shown.split(", ")] == ['rel="first"', 'rel="last"']
