"""Clients of the API whose every answer is held against its own documentation, and short cuts for them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from tests.api.contract import Contract
from tests.conftest import Systems
from tests.system import System, a_customer

Json = dict[str, Any]

# Long enough to ask Temporal, short enough to wait for in vain.
SHORT_DEADLINE = 0.3


@asynccontextmanager
async def api_of(system: System) -> AsyncIterator[httpx2.AsyncClient]:
    """A client that fails at the first answer which the OpenAPI document does not promise."""
    async with system.http() as client:
        contract = Contract((await client.get("/openapi.json")).json())
        client.event_hooks = {"response": [contract.check]}
        yield client


@pytest.fixture(scope="session")
async def http(system: System) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the shared system's API."""
    async with api_of(system) as client:
        yield client


def impatient(system: System) -> System:
    """The same system, whose API soon stops waiting."""
    return replace(system, settings=system.settings.model_copy(update={"answer_deadline": SHORT_DEADLINE}))


@pytest.fixture(scope="session")
async def lonely(systems: Systems) -> AsyncIterator[System]:
    """A system in which no worker runs, unless a test starts some."""
    async with systems("lonely") as system:
        yield impatient(system)


@pytest.fixture(scope="session")
async def lonely_http(lonely: System) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the lonely system's API."""
    async with api_of(lonely) as client:
        yield client


def a_body(**changes: object) -> Json:
    """The order of the README, for a customer of its own."""
    items = [
        {"product_id": "laptop", "quantity": 1, "unit_price": 999.99},
        {"product_id": "mouse", "quantity": 2, "unit_price": 25.50},
    ]
    return {"customer_id": a_customer(), "items": items, **changes}


def an_item(**changes: object) -> Json:
    return {"product_id": "mouse", "quantity": 2, "unit_price": "25.50", **changes}


async def place(http: httpx2.AsyncClient, **changes: object) -> Json:
    """Place an order; the order as the API shows it."""
    response = await http.post("/orders/", json=a_body(**changes))
    assert response.status_code == 201, response.text
    order: Json = response.json()
    return order


async def put(http: httpx2.AsyncClient, order: Json, status: str, **members: object) -> httpx2.Response:
    return await http.put(f"/orders/{order['id']}/status", json={"status": status, **members})


async def move(http: httpx2.AsyncClient, order: Json, *statuses: str) -> Json:
    """Move an order on, step by step; the order as the last answer shows it."""
    for status in statuses:
        response = await put(http, order, status)
        assert response.status_code == 200, response.text
        order = response.json()
    return order


async def read(http: httpx2.AsyncClient, order: Json) -> Json:
    """The order as GET shows it now."""
    found: Json = (await http.get(f"/orders/{order['id']}")).json()
    return found


async def history(http: httpx2.AsyncClient, order_id: str) -> list[Json]:
    """The order's changes, oldest first."""
    changes: list[Json] = (await http.get(f"/orders/{order_id}/history")).json()["history"]
    return changes
