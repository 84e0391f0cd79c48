"""The faults: which, where, for how long and in what order, all from a seed; and how they come about."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from chaos.journal import Journal
from chaos.proxy import Line
from chaos.stack import APIS, PROGRAMS, SERVERS, Stack

WORKERS = tuple(name for name in PROGRAMS if name not in APIS)
LINES = (
    *(f"{name} to {server}" for server in SERVERS for name in PROGRAMS),
    *(f"clients to {name}" for name in APIS),
    *(f"all to {server}" for server in SERVERS),
)
ARMED = tuple(name for name, arguments in PROGRAMS.items() if "chaos.mishaps" in arguments)

Groups = tuple[tuple[str, ...], ...]

_SERVERS = tuple((server,) for server in SERVERS)

TARGETS: dict[str, Groups] = {
    # A group is a kind of process; each is killed before any is killed again.
    "kill": ((*WORKERS, "worker-1 and worker-2"), (*APIS, "api-1 and api-2"), *_SERVERS),
    "stop": (WORKERS, APIS, *_SERVERS),
    "cut": (LINES,),
    "delay": (LINES,),
    "half-open to": (LINES,),
    "half-open from": (LINES,),
    "fail after commit": (ARMED,),
    "die after commit": (ARMED,),
    "repeat later": (ARMED,),
}
KINDS = tuple(TARGETS)
# Dealt from once by the short form, which so kills each kind of process.
DECK = ("kill", "kill", "kill", "stop", *KINDS)

Card = TypeVar("Card")
_Do = Callable[[], Awaitable[object]]

# Longer than a workflow task (10 s), so that another worker takes over what the stopped one still holds.
LONG_STOP = 12.0


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault: it begins `pause` seconds after the one before has ended, and lasts for so many seconds."""

    number: int
    kind: str
    target: str
    pause: float
    lasts: float
    delay: float = 0.0


def plan(seed: int, kinds: tuple[str, ...] = KINDS) -> Iterator[Fault]:
    """Every fault of a run, without end. The same seed gives the same faults.

    Kinds and targets are dealt from shuffled decks, so that any stretch of the plan has most of them.
    """
    chance = random.Random(f"{seed}-nemesis")  # noqa: S311 - repeatable, not secret
    kind_of = _deal(chance, [kind for kind in DECK if kind in kinds])
    target_of = {kind: _targets(chance, TARGETS[kind]) for kind in kinds}
    number = 0
    while True:
        number += 1
        kind = next(kind_of)
        target = next(target_of[kind])
        is_long = kind == "stop" and target.startswith("worker") and chance.random() < 1 / 3
        yield Fault(
            number=number,
            kind=kind,
            target=target,
            # Sometimes the next blow falls before the system has come to itself.
            pause=round(0.1 if chance.random() < 1 / 4 else chance.uniform(0.5, 2.5), 2),
            lasts=LONG_STOP if is_long else round(chance.uniform(1.5, 4.5), 2),
            delay=round(chance.uniform(0.05, 0.6), 2) if kind == "delay" else 0.0,
        )


def _targets(chance: random.Random, groups: Groups) -> Iterator[str]:
    """A target of each group in turn, and each of a group before any comes again."""
    decks = {group: _deal(chance, list(group)) for group in groups}
    for group in _deal(chance, list(groups)):
        yield next(decks[group])


def _deal(chance: random.Random, cards: list[Card]) -> Iterator[Card]:
    while True:
        chance.shuffle(cards)
        yield from cards


class Nemesis:
    """Brings the faults of a plan about, one after the other."""

    def __init__(self, stack: Stack, journal: Journal) -> None:
        self._stack = stack
        self._journal = journal

    async def strike(self, fault: Fault) -> None:
        """Wait, bring the fault about, and lift it."""
        await asyncio.sleep(fault.pause)
        self._journal.write(
            "fault", fault=fault.number, kind=fault.kind, target=fault.target, lasts=fault.lasts
        )
        begin, lift = self._ways(fault)
        try:
            await begin()
            await asyncio.sleep(fault.lasts)
        finally:
            await lift()
            self._journal.write("lifted", fault=fault.number)

    def _ways(self, fault: Fault) -> tuple[_Do, _Do]:
        """How the fault begins, and how it is lifted."""
        stack = self._stack
        names = fault.target.split(" and ")
        match fault.kind:
            case "kill":
                return _each(stack.kill, names), _each(stack.revive, names)
            case "stop":
                return _each(stack.stop, names), _each(stack.go_on, names)
            case "fail after commit" | "die after commit" | "repeat later":
                word = fault.kind.split()[0]
                return _each(lambda name: stack.switch(name, word), names), _each(stack.switch, names)
        lines = [name for name in stack.lines if name == fault.target or _all_to(name) == fault.target]
        return _each(lambda name: _break(stack.lines[name], fault), lines), _each(stack.mend, lines)


def _each(act: Callable[[str], Awaitable[None]], names: Iterable[str]) -> _Do:
    async def do() -> None:
        await asyncio.gather(*(act(name) for name in names))

    return do


def _all_to(line: str) -> str:
    """The name of all lines to the same server."""
    return f"all to {line.rpartition(' to ')[2]}"


async def _break(line: Line, fault: Fault) -> None:
    match fault.kind:
        case "cut":
            line.cut()
        case "delay":
            line.delay = fault.delay
        case "half-open to":
            line.hold(outward=True)
        case "half-open from":
            line.hold(outward=False)
