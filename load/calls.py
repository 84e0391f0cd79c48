"""The calls on orders, by HTTP, against any service that has them."""

import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit
from uuid import UUID, uuid4

import aiohttp

from load.engine import CallFailed, Operation

WRITES = ("create", "change", "cancel", "lifecycle")
READS = ("get", "list", "history")

ACCEPTED = "202 accepted"
PROMOTED = "409 promoted first"
"""The promotion has moved the order since it was seen PENDING: a race that callers must expect."""

_NEXT = {"PENDING": "PROCESSING", "PROCESSING": "SHIPPED", "SHIPPED": "DELIVERED"}
_PATIENCE_SECONDS = 30
# Less than servers grant an idle connection (uvicorn 5 s), so that no call meets one that is being closed.
_KEEP_ALIVE_SECONDS = 4
# Orders kept in mind, of each status.
_MOST_KNOWN = 10_000
_LONGEST_MESSAGE = 200


class CannotLoad(Exception):  # noqa: N818 - the name is the fact
    """There can be no load; `str()` says why, in one line."""


class _Answer(NamedTuple):
    status: int
    content: bytes

    def json(self) -> dict[str, Any]:
        """The object that it holds; an empty one where it holds none."""
        try:
            told = json.loads(self.content)
        except ValueError:
            told = None
        return told if isinstance(told, dict) else {}

    def __str__(self) -> str:
        text = str(self.json().get("detail") or self.content.decode(errors="replace"))[:_LONGEST_MESSAGE]
        return f"{self.status} {''.join(letter if letter.isprintable() else ' ' for letter in text)}".rstrip()


class _Refused(CallFailed):
    def __init__(self, answer: _Answer) -> None:
        super().__init__(str(answer.status), str(answer))
        self.current_status = answer.json().get("current_status")


@asynccontextmanager
async def orders_at(
    api_url: str, weights: Mapping[str, int], *, seed: int = 0, key: str | None = None
) -> AsyncIterator["Orders"]:
    """The calls on a deployment's orders, ready to be made, each kind as often as its weight says.

    Raises:
        CannotLoad: it does not answer, is something else, refuses the key, or has no order to read.
    """
    if not _is_address(api_url):
        raise CannotLoad(f"{api_url} is no address such as https://orders.example")
    if key is not None and not (key.isascii() and key.isprintable()):
        raise CannotLoad("The API key has characters that no key has")
    async with aiohttp.ClientSession(
        # No limit: the engine has one, and a call that waited here would look like a slow deployment.
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS),
        timeout=aiohttp.ClientTimeout(total=_PATIENCE_SECONDS),
        headers={"User-Agent": "orders-load"} | ({"Authorization": f"Bearer {key}"} if key else {}),
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as http:
        orders = Orders(http, api_url.rstrip("/"), weights, seed)
        await orders.prepare()
        yield orders


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna")
        return parts.scheme in {"http", "https"} and bool(host) and parts.port != 0
    except ValueError:  # among them, what the encoding raises
        return False


class Orders:
    """Chooses calls by the seed, which fixes what is drawn for the nth call, and the body of the nth order.

    Which order a call is about, and whether there is one, depends on what has been answered by then.
    """

    def __init__(
        self, http: aiohttp.ClientSession, api_url: str, weights: Mapping[str, int], seed: int
    ) -> None:
        self._http = http
        self._api_url = api_url
        self._names, self._weights = list(weights), list(accumulate(weights.values()))
        self._kinds = random.Random(f"{seed} kinds")  # noqa: S311 - nothing is secret
        self._bodies = random.Random(f"{seed} bodies")  # noqa: S311
        self._picks = random.Random(f"{seed} picks")  # noqa: S311
        # In every idempotency key, so that a second run with the seed does not get the orders of the first.
        self._run = uuid4().hex
        self._writes = 0
        self._list = "/orders/?limit=50"
        self._readable: list[str] = []
        self._movable: dict[str, list[str]] = {status: [] for status in _NEXT}

    async def prepare(self) -> None:
        """See that the calls can be made, and find orders to read; where there are none, place one.

        Raises:
            CannotLoad: they cannot be made.
        """
        answer = await self._ask("GET", self._list)
        page = answer.json()
        if answer.status != 200 or not isinstance(page.get("orders"), list):  # noqa: PLR2004 - HTTP's own numbers
            raise CannotLoad(
                f"{self._api_url} is no API of orders, or not ready: GET /orders/ answered {answer}"
            )
        if page.get("next_cursor"):
            self._list += f"&cursor={quote(str(page['next_cursor']), safe='')}"
        # Ask for what nobody can do; a key that lacks the scope is refused all the same.
        is_writing = not set(WRITES).isdisjoint(self._names)
        if is_writing:
            await self._ask("POST", "/orders/", b"{}")
        if not {"change", "lifecycle"}.isdisjoint(self._names):
            await self._ask("PUT", f"/orders/{UUID(int=0)}/status", b"{}")
        if {"get", "history"}.isdisjoint(self._names):
            return
        found = (await self._ask("GET", "/orders/?limit=1000")).json()
        self._readable = [order["id"] for order in found.get("orders", []) if "id" in order]
        try:
            if not self._readable and is_writing:
                await self._create(self._new_order())
        except CallFailed as failure:
            raise CannotLoad(f"There is no order to read, and placing one failed: {failure}") from None
        if not self._readable:
            raise CannotLoad("There is no order to read yet: let the mix create some, while a worker runs")

    async def _ask(self, method: str, path: str, body: bytes | None = None) -> _Answer:
        try:
            answer = await self._request(method, path, body)
        except CallFailed as failure:
            raise CannotLoad(f"No answer from {self._api_url}: {failure}") from None
        if answer.status in {401, 403}:
            raise CannotLoad(f"{self._api_url} refuses the API key, or asks for one: {answer}")
        return answer

    def choose(self) -> tuple[str, Operation]:
        """The next call. A change or a cancellation that finds no order at hand is the placing of one."""
        kind = self._kinds.choices(self._names, cum_weights=self._weights)[0]
        if kind == "list":
            return kind, partial(self._read, self._list)
        if kind in READS:
            path = f"/orders/{self._picks.choice(self._readable)}"
            return kind, partial(self._read, path if kind == "get" else f"{path}/history")
        if kind == "lifecycle":
            return kind, partial(self._live, self._new_order())
        if kind == "change" and (taken := self._take(*_NEXT)):
            return kind, partial(self._move, *taken, _NEXT[taken[1]])
        if kind == "cancel" and (taken := self._take("PENDING")):
            return kind, partial(self._move, *taken, "CANCELLED")
        return "create", partial(self._create, self._new_order())

    def _take(self, *statuses: str) -> tuple[str, str] | None:
        """An order of ours that no other call is moving, with its status."""
        numbers = [len(self._movable[status]) for status in statuses]
        if not any(numbers):
            return None
        status = self._picks.choices(statuses, numbers)[0]
        orders = self._movable[status]
        position = self._picks.randrange(len(orders))
        orders[position], orders[-1] = orders[-1], orders[position]
        return orders.pop(), status

    def _keep(self, order_id: str, status: str) -> None:
        if status in _NEXT and len(self._movable[status]) < _MOST_KNOWN:
            self._movable[status].append(order_id)

    def _new_order(self) -> bytes:
        chance = self._bodies
        items = [
            {
                "product_id": f"product-{chance.randrange(100)}",
                "quantity": chance.randrange(1, 6),
                "unit_price": f"{chance.randrange(1, 100_000) / 100:.2f}",
            }
            for _ in range(chance.randrange(1, 4))
        ]
        return json.dumps({"customer_id": f"load-{chance.randrange(1_000)}", "items": items}).encode()

    async def _read(self, path: str) -> None:
        await self._send("GET", path)

    async def _create(self, body: bytes) -> str | None:
        order_id = await self._place(body)
        if order_id is None:
            return ACCEPTED
        if len(self._readable) < _MOST_KNOWN:
            self._readable.append(order_id)
        self._keep(order_id, "PENDING")
        return None

    async def _move(self, order_id: str, status: str, target: str) -> str | None:
        note = await self._step(order_id, status, target)
        if note != ACCEPTED:
            self._keep(order_id, target)
        return note

    async def _live(self, body: bytes) -> str | None:
        order_id = await self._place(body)
        if order_id is None:
            return ACCEPTED
        worst = None
        for status, target in _NEXT.items():
            note = await self._step(order_id, status, target)
            if note == ACCEPTED:
                return note
            worst = worst or note
        return worst

    async def _place(self, body: bytes) -> str | None:
        """Place an order; its id, or None where it is accepted and not readable yet."""
        answer = await self._send("POST", "/orders/", body)
        if answer.status == 202:  # noqa: PLR2004
            return None
        order_id = answer.json().get("id")
        if not isinstance(order_id, str):
            raise CallFailed("no id", f"The answer to POST /orders/ has no id: {answer}")
        return order_id

    async def _step(self, order_id: str, status: str, target: str) -> str | None:
        """Move an order from one status to another; a note where that went another expected way."""
        path = f"/orders/{order_id}"
        try:
            if target == "CANCELLED":
                answer = await self._send("DELETE", path)
            else:
                answer = await self._send("PUT", f"{path}/status", b'{"status":"%s"}' % target.encode())
        except _Refused as refusal:
            if (status, refusal.current_status) != ("PENDING", "PROCESSING"):
                raise
            return PROMOTED
        return ACCEPTED if answer.status == 202 else None  # noqa: PLR2004

    async def _send(self, method: str, path: str, body: bytes | None = None) -> _Answer:
        answer = await self._request(method, path, body)
        if answer.status not in _EXPECTED[method]:
            raise _Refused(answer)
        return answer

    async def _request(self, method: str, path: str, body: bytes | None) -> _Answer:
        headers = {}
        if method != "GET":
            self._writes += 1
            headers["Idempotency-Key"] = f"{self._run}-{self._writes}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        url = self._api_url + path
        try:
            async with self._http.request(
                method, url, data=body, headers=headers, allow_redirects=False
            ) as response:
                return _Answer(response.status, await response.read())
        except TimeoutError:
            raise CallFailed("time-out", f"no answer within {_PATIENCE_SECONDS} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise CallFailed("connection", str(error) or type(error).__name__) from None


_EXPECTED = {"GET": {200}, "POST": {201, 202}, "PUT": {200, 202}, "DELETE": {200, 202}}
