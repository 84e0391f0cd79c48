"""Concurrent clients: what each wants comes from the seed, and from the orders that they all know of."""

import asyncio
import random
from dataclasses import dataclass, field, replace
from typing import Any

from chaos.calls import Answer, Caller, Command

# So often a client tries before it gives a command up.
MOST_CALLS = 6
RECENT = 40
NEXT = {"PENDING": ("PROCESSING", "CANCELLED"), "PROCESSING": ("SHIPPED",), "SHIPPED": ("DELIVERED",)}
STATUSES = ("PENDING", "PROCESSING", "SHIPPED", "DELIVERED", "CANCELLED")
NONSENSE: tuple[Any, ...] = ({"status": "LOST"}, {"status": 7}, {"colour": "red"}, "ship it")
# Enough for a workflow to continue as new.
TALK = 25


@dataclass
class Market:
    """The orders that the clients know of, with the status that they believe each has; and what was sent."""

    open: dict[str, str] = field(default_factory=dict)
    over: list[str] = field(default_factory=list)
    commands: set[str] = field(default_factory=set)

    def sent(self, command: Command) -> None:
        """Count a command, however often it is sent."""
        if command.kind != "read":
            self.commands.add(command.id)

    def learn(self, command: Command, answer: Answer) -> None:
        """Believe an answer."""
        order = answer.get("shown_order") or command.order
        status = answer.get("shown_status")
        if answer["outcome"] == "accepted":
            status = command.status or "PENDING"  # Most likely.
        if order is None or status is None or command.kind == "nonsense":
            return
        if status in NEXT:
            self.open[order] = status
        elif self.open.pop(order, None):
            self.over = [*self.over, order][-RECENT:]


class Client:
    """One client. Its wishes are its own; the orders are everybody's."""

    def __init__(self, name: str, chance: random.Random, market: Market, caller: Caller) -> None:
        self._name = name
        self._chance = chance
        self._market = market
        self._caller = caller
        self._wishes = 0
        self._earlier: list[Command] = []

    async def live(self, stop: asyncio.Event) -> None:
        """Send commands until told to stop; every call that was begun is ended."""
        try:
            while not stop.is_set():
                await self._act()
                await asyncio.sleep(self._chance.uniform(0, 0.05))
        finally:
            await self._caller.close()

    async def _act(self) -> None:
        wishes = {
            self._place: 40 if len(self._market.open) < RECENT // 2 else 22,
            self._move: 44,
            self._cancel: 6,
            self._race: 10,
            self._duplicate: 10,
            self._read: 10,
            self._talk: 0.3,
        }
        await self._chance.choices(list(wishes), list(wishes.values()))[0]()

    async def _place(self) -> None:
        command = self._new("place", "http")
        items = [
            {
                "product_id": f"product-{self._chance.randrange(50)}",
                "quantity": self._chance.randrange(1, 9),
                "unit_price": f"{self._chance.randrange(1, 99_999) / 100:.2f}",
            }
            for _ in range(self._chance.randrange(1, 4))
        ]
        key = command.id if self._chance.random() < 3 / 4 else None
        # The customer names the command, so that an order without a key can be told from any other.
        await self._insist(replace(command, key=key, body={"customer_id": command.id, "items": items}))

    async def _move(self) -> None:
        if command := self._wish_to_move(self._some_order()):
            await self._insist(command)

    async def _cancel(self) -> None:
        if order := self._some_order("PENDING"):
            await self._insist(self._wish(order, "CANCELLED"))

    async def _race(self) -> None:
        """Several commands for one order at the same time, or one command several times."""
        order = self._some_order()
        wishes = [self._wish_to_move(order) for _ in range(self._chance.randrange(2, 5))]
        racing = [wish for wish in wishes if wish]
        if racing and racing[0].key is not None and self._chance.random() < 1 / 3:
            racing = racing[:1] * len(racing)
        await asyncio.gather(*(self._call(command) for command in racing))

    async def _duplicate(self) -> None:
        if self._earlier:
            await self._call(self._chance.choice(self._earlier))

    async def _read(self) -> None:
        if order := self._some_order():
            await self._call(self._new("read", "http", order=order))

    async def _talk(self) -> None:
        """Tell one order so much nonsense that its workflow continues as new."""
        if order := self._some_order():
            for _ in range(TALK):
                body = self._chance.choice(NONSENSE)
                await self._call(self._new("nonsense", "signal", order=order, body=body))

    def _some_order(self, status: str | None = None) -> str | None:
        """An order to do something to; mostly one of the latest, so that clients meet."""
        if status is None and self._market.over and self._chance.random() < 1 / 20:
            return self._chance.choice(self._market.over)
        known = [order for order, it in self._market.open.items() if status in {None, it}]
        return self._chance.choice(known[-RECENT:]) if known else None

    def _wish_to_move(self, order: str | None) -> Command | None:
        if order is None:
            return None
        sensible = NEXT.get(self._market.open.get(order, ""), STATUSES)
        # An order mostly goes its way; now and then somebody asks for what makes no sense.
        status = sensible[0] if self._chance.random() < 4 / 5 else self._chance.choice((*sensible, *STATUSES))
        return self._wish(order, status)

    def _wish(self, order: str, status: str) -> Command:
        via = "signal" if self._chance.random() < 1 / 4 else "http"
        command = self._new("change", via, order=order, status=status)
        key = command.id if via == "signal" or self._chance.random() < 4 / 5 else None
        version = None
        if self._chance.random() < 1 / 8:
            version = 1 + STATUSES.index(self._market.open.get(order, "PENDING"))
        body = {"status": status, "changed_by": self._name, "reason": command.id}
        if status == "CANCELLED" and self._chance.random() < 1 / 2:
            # The other way to cancel: DELETE, which says nothing, or the signal, which knows no version.
            command = replace(command, kind="cancel")
            body = {"reason": command.id}
            version = None if via == "signal" else version
        return replace(command, key=key, expected_version=version, body=body)

    def _new(self, kind: str, via: str, **fields: Any) -> Command:  # noqa: ANN401 - the fields of a command
        self._wishes += 1
        return Command(id=f"{self._name}-{self._wishes}", kind=kind, via=via, **fields)

    async def _insist(self, command: Command) -> None:
        """Call until it is known what became of the command, where a repeat is safe."""
        if command.key is not None:
            self._earlier = [*self._earlier, command][-20:]
        for number in range(MOST_CALLS):
            outcome = await self._call(command)
            if outcome != "unknown" or command.key is None:
                return
            await asyncio.sleep(0.2 * (number + 1))

    async def _call(self, command: Command) -> str:
        self._market.sent(command)
        answer = await self._caller.call(command)
        self._market.learn(command, answer)
        return str(answer["outcome"])
