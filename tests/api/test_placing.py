"""POST /orders/."""

import json
import re
import unicodedata
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orders.money import CURRENCY_DECIMALS
from tests.api.conftest import Json, a_body, an_item, place, read

# The body of the README, letter by letter.
BRIEF = """
{"customer_id": "customer_123", "items": [{"product_id": "laptop", "quantity": 1, "unit_price": 999.99},
{"product_id": "mouse", "quantity": 2, "unit_price": 25.50}]}
"""
AS_JSON = {"Content-Type": "application/json"}
UUID_VERSION_FOR_SORTING = 7


async def test_the_order_of_the_readme_is_placed(http: httpx2.AsyncClient) -> None:
    response = await http.post("/orders/", content=BRIEF, headers=AS_JSON)

    assert response.status_code == 201
    order = response.json()
    assert {
        "id": order["id"],
        "customer_id": "customer_123",
        "status": "PENDING",
        "currency": "USD",
        "total_amount": "1050.99",
        "items": [
            {"id": order["items"][0]["id"], "product_id": "laptop", "quantity": 1, "unit_price": "999.99"},
            {"id": order["items"][1]["id"], "product_id": "mouse", "quantity": 2, "unit_price": "25.50"},
        ],
        "version": 1,
        "created_at": order["created_at"],
        "updated_at": order["created_at"],
        "allowed_transitions": ["PROCESSING", "CANCELLED"],
    } == order


async def test_the_answer_says_where_the_order_is_and_which_version_it_has(http: httpx2.AsyncClient) -> None:
    response = await http.post("/orders/", json=a_body())

    assert response.headers["Location"] == f"/orders/{response.json()['id']}"
    assert response.headers["ETag"] == '"1"'


@pytest.mark.parametrize("path", ["/orders", "/orders/"])
async def test_an_order_is_placed_with_and_without_the_last_slash(
    http: httpx2.AsyncClient, path: str
) -> None:
    assert (await http.post(path, json=a_body())).status_code == 201


async def test_a_placed_order_is_readable_at_once(http: httpx2.AsyncClient) -> None:
    placed = await http.post("/orders/", json=a_body())

    found = await http.get(placed.headers["Location"])

    assert found.json() == placed.json()
    assert found.headers["ETag"] == placed.headers["ETag"]


async def test_ids_are_unique_and_those_of_orders_sort_by_time(http: httpx2.AsyncClient) -> None:
    first, second = await place(http), await place(http)

    assert UUID(first["id"]).version == UUID_VERSION_FOR_SORTING
    assert first["id"] < second["id"]
    assert len({item["id"] for order in (first, second) for item in order["items"]}) == 4


async def test_times_are_utc(http: httpx2.AsyncClient) -> None:
    order = await place(http)

    assert order["created_at"].endswith("Z")
    assert datetime.fromisoformat(order["created_at"]).utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("currency", "price", "shown", "total"),
    [
        ("USD", 0.1, "0.10", "0.30"),
        ("USD", "0.1", "0.10", "0.30"),
        ("USD", 999999999, "999999999.00", "2999999997.00"),
        ("USD", "1000000000.00", "1000000000.00", "3000000000.00"),
        ("JPY", 1200, "1200", "3600"),
        ("JPY", 1e3, "1000", "3000"),
        ("JPY", 250000, "250000", "750000"),
        ("KWD", "1.005", "1.005", "3.015"),
        ("CLF", 0.0001, "0.0001", "0.0003"),
    ],
)
async def test_money_is_exact_and_has_the_currencys_decimals(
    http: httpx2.AsyncClient, currency: str, price: float | str, shown: str, total: str
) -> None:
    order = await place(http, currency=currency, items=[an_item(quantity=3, unit_price=price)])

    for seen in (order, await read(http, order)):
        assert (seen["items"][0]["unit_price"], seen["total_amount"]) == (shown, total)


async def test_the_largest_order_that_the_limits_allow_is_placed(http: httpx2.AsyncClient) -> None:
    items = [an_item(product_id=f"{number:03}" + "漢" * 199) for number in range(500)]

    order = await place(http, items=items)

    assert [item["product_id"] for item in order["items"]] == [item["product_id"] for item in items]


@pytest.mark.parametrize("identifier", ["x" * 255, "*" * 255, '"' * 255, "é" * 255, "漢" * 200, "😀" * 150])
async def test_the_longest_identifiers_of_any_script_are_taken(
    http: httpx2.AsyncClient, identifier: str
) -> None:
    order = await place(http, customer_id=identifier, items=[an_item(product_id=identifier)])

    assert (order["customer_id"], order["items"][0]["product_id"]) == (identifier, identifier)


@pytest.mark.parametrize(
    ("changes", "place_of_error"),
    [
        ({"customer_id": ""}, "body.customer_id"),
        ({"customer_id": "   "}, "body.customer_id"),
        ({"customer_id": "x" * 256}, "body.customer_id"),
        ({"customer_id": "😀" * 151}, "body.customer_id"),
        ({"customer_id": "a\0b"}, "body.customer_id"),
        ({"customer_id": "a\nb"}, "body.customer_id"),
        ({"customer_id": "a\u2028b"}, "body.customer_id"),
        ({"customer_id": None}, "body.customer_id"),
        ({"customer_id": 7}, "body.customer_id"),
        ({"currency": "usd"}, "body.currency"),
        ({"currency": "XXX"}, "body.currency"),
        ({"currency": None}, "body.currency"),
        ({"items": []}, "body.items"),
        ({"items": {}}, "body.items"),
        ({"items": [None]}, "body.items.0"),
        ({"items": [an_item()] * 501}, "body.items"),
        ({"items": [an_item(), an_item(product_id=" ")]}, "body.items.1.product_id"),
        ({"items": [an_item(product_id="x" * 256)]}, "body.items.0.product_id"),
        ({"items": [an_item(quantity=0)]}, "body.items.0.quantity"),
        ({"items": [an_item(quantity=-1)]}, "body.items.0.quantity"),
        ({"items": [an_item(quantity=1.0)]}, "body.items.0.quantity"),
        ({"items": [an_item(quantity="1")]}, "body.items.0.quantity"),
        ({"items": [an_item(quantity=True)]}, "body.items.0.quantity"),
        ({"items": [an_item(quantity=1_000_001)]}, "body.items.0.quantity"),
        ({"items": [an_item(unit_price=0)]}, "body.items.0.unit_price"),
        ({"items": [an_item(unit_price="-0.01")]}, "body.items.0.unit_price"),
        ({"items": [an_item(unit_price=0.001)]}, "body.items.0.unit_price"),
        ({"items": [an_item(unit_price="1e3")]}, "body.items.0.unit_price"),
        ({"items": [an_item(unit_price=" 1")]}, "body.items.0.unit_price"),
        ({"items": [an_item(unit_price="NaN")]}, "body.items.0.unit_price"),
        ({"items": [an_item(unit_price="٣")]}, "body.items.0.unit_price"),
        ({"items": [an_item(unit_price=True)]}, "body.items.0.unit_price"),
        ({"items": [an_item(unit_price=None)]}, "body.items.0.unit_price"),
        ({"items": [an_item(unit_price="1" * 25)]}, "body.items.0.unit_price"),
        ({"currency": "JPY", "items": [an_item(unit_price="0.5")]}, "body.items.0.unit_price"),
        ({"status": "DELIVERED"}, "body.status"),
        ({"items": [an_item(id="x")]}, "body.items.0.id"),
    ],
)
async def test_what_has_no_meaning_is_refused_and_its_place_named(
    http: httpx2.AsyncClient, changes: Json, place_of_error: str
) -> None:
    response = await http.post("/orders/", json=a_body(**changes))

    assert response.status_code == 422
    assert response.json()["code"] == "invalid_request"
    assert [error["place"] for error in response.json()["errors"]] == [place_of_error]


async def test_every_mistake_is_named(http: httpx2.AsyncClient) -> None:
    response = await http.post("/orders/", json={"items": [an_item(quantity=0), an_item(unit_price=0)]})

    assert {error["place"] for error in response.json()["errors"]} == {
        "body.customer_id",
        "body.items.0.quantity",
        "body.items.1.unit_price",
    }


@pytest.mark.parametrize(
    ("item", "detail"),
    [
        (
            an_item(unit_price="1000000000.01"),
            "body.items.0.unit_price: must be at most 1000000000",
        ),
        (
            an_item(quantity=1_000_000, unit_price="1000000.01"),
            "body.total_amount: must be at most 1000000000000 USD",
        ),
    ],
)
async def test_an_order_beyond_what_the_shop_takes_breaks_a_business_rule(
    http: httpx2.AsyncClient, item: Json, detail: str
) -> None:
    response = await http.post("/orders/", json=a_body(items=[item]))

    assert response.status_code == 400
    assert (response.json()["code"], response.json()["detail"]) == ("limit_exceeded", detail)


async def test_a_refused_order_does_not_exist(http: httpx2.AsyncClient) -> None:
    body = a_body(items=[an_item(quantity=0)])

    await http.post("/orders/", json=body)

    listed = await http.get("/orders/", params={"customer_id": body["customer_id"]})
    assert listed.json()["total"] == 0


def is_storable(character: str) -> bool:
    return unicodedata.category(character) not in {"Cc", "Cs", "Zl", "Zp"}


identifiers = st.text(st.characters().filter(is_storable), min_size=1, max_size=150).filter(str.strip)


@st.composite
def bodies(draw: st.DrawFn) -> Json:
    """Any order that the shop takes; prices are Decimals."""
    currency = draw(st.sampled_from(sorted(CURRENCY_DECIMALS)))
    item = st.fixed_dictionaries(
        {
            "product_id": identifiers,
            "quantity": st.integers(1, 1_000),
            "unit_price": st.decimals(
                min_value=Decimal(1).scaleb(-CURRENCY_DECIMALS[currency]),
                max_value=Decimal(1_000_000),
                places=CURRENCY_DECIMALS[currency],
            ),
        }
    )
    items = draw(st.lists(item, min_size=1, max_size=5))
    return {"customer_id": draw(identifiers), "currency": currency, "items": items}


def as_json(body: Json, *, prices_as_numbers: bool, in_ascii: bool) -> bytes:
    text = json.dumps(body, default=str, ensure_ascii=in_ascii)
    if prices_as_numbers:
        text = re.sub(r'("unit_price": )"([0-9.]+)"', r"\1\2", text)
    return text.encode()


def without_ids(items: list[Json]) -> list[dict[str, Any]]:
    return [{name: value for name, value in item.items() if name != "id"} for item in items]


@given(body=bodies(), prices_as_numbers=st.booleans(), in_ascii=st.booleans())
@settings(max_examples=25)
async def test_an_order_is_retrieved_exactly_as_it_was_created(
    http: httpx2.AsyncClient, body: Json, *, prices_as_numbers: bool, in_ascii: bool
) -> None:
    content = as_json(body, prices_as_numbers=prices_as_numbers, in_ascii=in_ascii)

    placed = await http.post("/orders/", content=content, headers=AS_JSON)
    found = await http.get(f"/orders/{placed.json().get('id')}")

    assert (placed.status_code, found.status_code) == (201, 200)
    assert found.json() == placed.json()
    order = found.json()
    assert (order["customer_id"], order["currency"]) == (body["customer_id"], body["currency"])
    assert without_ids(order["items"]) == [
        item | {"unit_price": str(item["unit_price"])} for item in body["items"]
    ]
    total = sum(item["quantity"] * item["unit_price"] for item in body["items"])
    assert order["total_amount"] == str(total)
