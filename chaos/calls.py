"""One call of a client, by HTTP or as a signal: journalled before it is sent and after it is answered."""

import asyncio
import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx2
from temporalio.client import Client as Temporal
from temporalio.service import RPCError, RPCStatusCode

from chaos.journal import Journal

HTTP_PATIENCE = 8.0
SIGNAL_PATIENCE = 5.0
# So many writes wait for no outcome.
ASYNC_SHARE = 1 / 12

# What an answer says of the call: no other status promises anything.
_OUTCOMES = {200: "done", 201: "done", 202: "accepted"}
_REFUSALS = range(400, 500)

Answer = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Command:
    """What a client wants, whatever it takes.

    `kind` is place, change, cancel, nonsense or read, `via` is http or signal, `body` the JSON that it says.
    With a `key` it may be repeated: as an Idempotency-Key, or as the command id of a signal.
    """

    id: str
    kind: str
    via: str
    order: str | None = None
    status: str | None = None
    expected_version: int | None = None
    key: str | None = None
    body: Any = None


class Caller:
    """Sends commands to any of the APIs, or as signals to Temporal."""

    def __init__(
        self, journal: Journal, api_urls: list[str], temporal: Temporal, chance: random.Random
    ) -> None:
        self._journal = journal
        self._api_urls = api_urls
        self._temporal = temporal
        self._chance = chance
        self._http = httpx2.AsyncClient(timeout=HTTP_PATIENCE)
        self._calls: dict[str, int] = {}

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    async def call(self, command: Command) -> Answer:
        """Send a command once; `outcome` of the answer is done, accepted, refused or unknown."""
        number = self._calls[command.id] = self._calls.get(command.id, 0) + 1
        # Travels with the command as its request id, so that a history says which call made a change.
        call = f"{command.id}.{number}"
        self._journal.write(
            "call",
            call=call,
            command=command.id,
            kind=command.kind,
            via=command.via,
            order=command.order,
            status=command.status,
            expected_version=command.expected_version,
            key=command.key,
            body=command.body,
        )
        answer = await (
            self._request(command, call) if command.via == "http" else self._signal(command, call)
        )
        self._journal.write("answer", call=call, **answer)
        return answer

    async def _request(self, command: Command, call: str) -> Answer:
        headers = {"X-Request-ID": call}
        if command.key is not None:
            headers["Idempotency-Key"] = command.key
        if command.expected_version is not None:
            headers["If-Match"] = f'"{command.expected_version}"'
        if command.kind != "read" and self._chance.random() < ASYNC_SHARE:
            headers["Prefer"] = "respond-async"
        method, path = _METHODS[command.kind]
        url = self._chance.choice(self._api_urls) + path.format(command.order)
        body = command.body if method in {"POST", "PUT"} else None
        try:
            response = await self._http.request(method, url, headers=headers, json=body)
            told = response.json()
        except (httpx2.HTTPError, ValueError) as error:
            # It may have arrived, and it may have been carried out.
            return {"outcome": "unknown", "reason": type(error).__name__}
        return _read(response, told)

    async def _signal(self, command: Command, call: str) -> Answer:
        body = command.body
        if isinstance(body, dict):
            body = body | {"request_id": call}
            if command.key is not None:
                body["command_id"] = command.key
            if command.expected_version is not None:
                body["expected_version"] = command.expected_version
        name = "cancel" if command.kind == "cancel" else "update_status"
        handle = self._temporal.get_workflow_handle(f"order-{command.order}")
        try:
            async with asyncio.timeout(SIGNAL_PATIENCE):
                await handle.signal(name, body, rpc_timeout=timedelta(seconds=SIGNAL_PATIENCE))
        except RPCError as error:
            # There is none, or it has ended: Temporal has looked.
            refused = error.status is RPCStatusCode.NOT_FOUND
            return {"outcome": "refused" if refused else "unknown", "reason": error.status.name}
        except (TimeoutError, RuntimeError) as error:
            return {"outcome": "unknown", "reason": type(error).__name__}
        return {"outcome": "accepted"}


_METHODS = {
    "place": ("POST", "/orders/"),
    "change": ("PUT", "/orders/{}/status"),
    "cancel": ("DELETE", "/orders/{}"),
    "read": ("GET", "/orders/{}"),
}


def _read(response: httpx2.Response, told: Answer) -> Answer:
    """What the journal keeps of an answer."""
    status = response.status_code
    refused = "refused" if status in _REFUSALS else "unknown"
    answer: Answer = {"outcome": _OUTCOMES.get(status, refused), "http": status}
    if status == 202:  # noqa: PLR2004 - HTTP's own number
        return answer | {"shown_order": told["order_id"]}
    if status in _OUTCOMES:
        replayed = response.headers.get("Idempotent-Replayed") == "true"
        names = {
            "shown_order": "id",
            "shown_status": "status",
            "version": "version",
            "shown_time": "updated_at",
        }
        return answer | {name: told[field] for name, field in names.items()} | {"replayed": replayed}
    if "current_status" in told:
        answer |= {"shown_status": told["current_status"]}
    return answer | {"reason": told.get("code")}
