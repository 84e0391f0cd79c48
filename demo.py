"""A walk through the whole system, against one that is running: `orders demo`."""

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from uuid import UUID

import httpx2
from rich.console import Console
from rich.markup import escape
from temporalio.client import Client
from temporalio.service import RPCError

from connection import connect
from orders.names import PROMOTION_SCHEDULE_ID, workflow_id
from settings import ConfigurationError, Settings

_PATIENCE_SECONDS = 30
_ORDER = {
    "customer_id": "customer_123",
    "items": [
        {"product_id": "laptop", "quantity": 1, "unit_price": 999.99},
        {"product_id": "mouse", "quantity": 2, "unit_price": 25.50},
    ],
}

Answer = dict[str, Any]


class _UnexpectedAnswer(Exception):  # noqa: N818 - the name is the fact
    """The system did not do what it promises."""


def run_demo(api_url: str, settings: Settings, key: str | None = None) -> int:
    """Walk through the system and check each answer; 0 when all were right, 1 when one was not.

    `key` is an API key with every scope, where the API asks for one.
    """
    console = Console(highlight=False)
    try:
        asyncio.run(_walk(api_url.rstrip("/"), settings, console, key))
    except (_UnexpectedAnswer, ConfigurationError) as problem:
        reason = str(problem)
    except RPCError as error:
        reason = f"Temporal: {error.message}; was the promotion declared (`orders schedule`)?"
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        reason = f"No answer from {api_url} ({error}): is `scripts/dev` running?"
    else:
        return 0
    console.print(f"[red]✗[/red] {escape(reason)}", soft_wrap=True)
    return 1


async def _walk(api_url: str, settings: Settings, console: Console, key: str | None) -> None:
    client = await connect()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with httpx2.AsyncClient(base_url=api_url, timeout=_PATIENCE_SECONDS, headers=headers) as http:
        walk = _Walk(http, client, console)
        await walk.lead(f"{settings.temporal_ui_url}/namespaces/{client.namespace}/workflows")


@dataclass(frozen=True)
class _Walk:
    http: httpx2.AsyncClient
    temporal: Client
    console: Console

    async def lead(self, web_ui: str) -> None:
        await self._call("The service is ready", HTTPStatus.OK, "GET", "/health/ready")

        delivered = await self._place("An order is placed")
        for status in ("PROCESSING", "SHIPPED", "DELIVERED"):
            moved = await self._move(f"It is moved to {status}", HTTPStatus.OK, delivered, status)
            self._expect(moved["status"] == status, f"status {status}, not {moved['status']}")

        cancelled = await self._place("A second order is placed")
        gone = await self._call("It is cancelled", HTTPStatus.OK, "DELETE", f"/orders/{cancelled}")
        self._expect(gone["status"] == "CANCELLED", f"status CANCELLED, not {gone['status']}")
        await self._call(
            "It cannot be cancelled twice", HTTPStatus.CONFLICT, "DELETE", f"/orders/{cancelled}"
        )

        pending = await self._place("A third order is placed")
        await self._move("It cannot jump to DELIVERED", HTTPStatus.CONFLICT, pending, "DELIVERED")
        await self._promote(pending)

        history = await self._call(
            "The first order's history is complete", HTTPStatus.OK, "GET", f"/orders/{delivered}/history"
        )
        steps = [change["new_status"] for change in history["history"]]
        self._expect(
            steps == ["PENDING", "PROCESSING", "SHIPPED", "DELIVERED"], f"its whole life, not {steps}"
        )
        self.console.print("\nIts life in the Temporal Web UI:", soft_wrap=True)
        self.console.print(f"  {web_ui}/{workflow_id(UUID(delivered))}", soft_wrap=True)

    async def _place(self, promise: str) -> str:
        order = await self._call(promise, HTTPStatus.CREATED, "POST", "/orders/", json=_ORDER)
        self._expect(order["total_amount"] == "1050.99", f"1050.99 in total, not {order['total_amount']}")
        return str(order["id"])

    async def _move(self, promise: str, expected: HTTPStatus, order_id: str, status: str) -> Answer:
        body = {"status": status, "changed_by": "demo"}
        return await self._call(promise, expected, "PUT", f"/orders/{order_id}/status", json=body)

    async def _promote(self, order_id: str) -> None:
        schedule = self.temporal.get_schedule_handle(PROMOTION_SCHEDULE_ID)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while True:
                    await schedule.trigger()
                    await asyncio.sleep(1)
                    order = (await self.http.get(f"/orders/{order_id}")).json()
                    if order["status"] == "PROCESSING":
                        break
        except TimeoutError:
            raise _UnexpectedAnswer(
                f"Order {order_id} was not promoted; is a promotion worker running?"
            ) from None
        self._tell("A triggered promotion moves it to PROCESSING", "PROCESSING")

    async def _call(
        self, promise: str, expected: HTTPStatus, method: str, path: str, json: Answer | None = None
    ) -> Answer:
        response = await self.http.request(method, path, json=json)
        try:
            answer: Answer = response.json()
        except ValueError:
            raise _UnexpectedAnswer(
                f"Expected JSON from {response.url}, not {response.text[:80]!r}"
            ) from None
        if not isinstance(answer, dict):
            raise _UnexpectedAnswer(f"Expected an object from {response.url}, not {response.text[:80]!r}")
        about = answer.get("detail") or answer.get("status") or f"{len(answer.get('history', []))} changes"
        self._expect(
            response.status_code == expected, f"{expected.value} for {method} {path}: {response.text}"
        )
        self._tell(promise, f"{response.status_code} {about}")
        return answer

    def _expect(self, fulfilled: bool, promise: str) -> None:  # noqa: FBT001 - the condition itself
        if not fulfilled:
            raise _UnexpectedAnswer(f"Expected {promise}")

    def _tell(self, promise: str, answer: str) -> None:
        self.console.print(f"[green]✓[/green] {promise} [dim]{escape(answer)}[/dim]", soft_wrap=True)
