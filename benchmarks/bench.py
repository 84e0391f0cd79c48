"""What durability costs: `scripts/bench` measures the product beside its floor and its peers, in one run.

    floor   a bare Temporal workflow that gets the same messages and does nothing (benchmarks.floor)
    crud    the same API without workflows (benchmarks.crud)
    bare    a select, and its answer as JSON (benchmarks.bare)

Each is measured in every round, in an order by chance, on the same two servers; a ratio is one of figures
from the same round. Writes a table, plots and every figure. `--short` writes nothing, and fails where
something does not work or is far off.
"""

import argparse
import random
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID

import aiohttp
from temporalio.client import Client

import process
from api.schemas import LAPTOP_AND_MICE
from benchmarks import command
from benchmarks.bench_figures import Life, Measured, Report, broken, life_of
from benchmarks.bench_report import table_of, write
from benchmarks.floor import CHANGES, Floor
from benchmarks.progress import Progress
from benchmarks.rig import Rig
from load.calls import orders_at
from load.engine import CallFailed, Choose, Operation, run
from orders.names import workflow_id
from orders.status import OrderStatus
from settings import ROOT

ROUNDS, SECONDS, SHORT_SECONDS = 5, 6.0, 1.5
SEED = 7
CLIENTS = 16
ORDERS_TO_READ = 200
WARM_UP_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Contest:
    """One thing that several services do, for so many seconds in each round."""

    name: str
    contenders: Mapping[str, Choose]
    clients: int
    seconds: float


class Walk:
    """One order after the other, one call after the other: placed, then moved to DELIVERED."""

    def __init__(
        self, create: Callable[[], Awaitable[str]], change: Callable[[str, OrderStatus], Awaitable[None]]
    ) -> None:
        self._create = create
        self._change = change
        self._order = ""
        self._left: deque[OrderStatus] = deque()

    def choose(self) -> tuple[str, Operation]:
        """The next call."""
        if self._left:
            return "change", partial(self._move, self._left.popleft())
        return "create", self._place

    async def _place(self) -> None:
        self._order = await self._create()
        self._left.extend(CHANGES)

    async def _move(self, status: OrderStatus) -> None:
        await self._change(self._order, status)


@dataclass(frozen=True)
class Service:
    """A service of orders, by HTTP."""

    http: aiohttp.ClientSession
    url: str

    async def create(self) -> str:
        """Place an order; its id."""
        async with self.http.post(f"{self.url}/orders/", json=LAPTOP_AND_MICE) as response:
            await _expect(201, response)
            return str((await response.json())["id"])

    async def change(self, order_id: str, status: OrderStatus) -> None:
        """Move an order."""
        path = f"{self.url}/orders/{order_id}/status"
        async with self.http.put(path, json={"status": status.value}) as response:
            await _expect(200, response)
            await response.read()


async def _expect(status: int, response: aiohttp.ClientResponse) -> None:
    if response.status != status:
        raise CallFailed(str(response.status), f"{response.status} {await response.text()}")


@dataclass(frozen=True)
class Field:
    """What is measured, ready to be; and the product, by itself."""

    contests: list[Contest]
    product: Service


@asynccontextmanager
async def _field(rig: Rig, seconds: float) -> AsyncIterator[Field]:
    await rig.start("worker", "worker", "--serve", "orders")
    await rig.start("floor", "benchmarks.floor")
    crud_database = await rig.create_database("crud")
    urls = {
        "orders": await rig.start_api(),
        "crud": await rig.start_service("crud", {"DATABASE_URL": crud_database}),
        "bare": await rig.start_service("bare"),
    }
    floor = Floor(rig.client)
    async with AsyncExitStack() as open_until_then:
        http = await open_until_then.enter_async_context(aiohttp.ClientSession())
        orders, crud = Service(http, urls["orders"]), Service(http, urls["crud"])
        for service in (orders, crud):
            await run(_always("create", service.create), clients=CLIENTS, calls=ORDERS_TO_READ)

        async def calls(kind: str, *names: str) -> dict[str, Choose]:
            return {
                name: (await open_until_then.enter_async_context(orders_at(urls[name], {kind: 1}))).choose
                for name in names
            }

        contests = [
            Contest(
                name="one client",
                contenders={
                    name: Walk(it.create, it.change).choose
                    for name, it in (("orders", orders), ("floor", floor), ("crud", crud))
                },
                clients=1,
                seconds=seconds,
            ),
            Contest(
                name="create",
                contenders={
                    "floor": _always("create", floor.create),
                    **await calls("create", "orders", "crud"),
                },
                clients=CLIENTS,
                seconds=seconds,
            ),
            Contest(
                name="lifecycle",
                contenders={
                    "floor": _always("lifecycle", floor.lifecycle),
                    "floor, by signals": _always("lifecycle", floor.signalled_lifecycle),
                    **await calls("lifecycle", "orders", "crud"),
                },
                clients=CLIENTS,
                seconds=2 * seconds,
            ),
            *[
                Contest(
                    name=kind,
                    contenders=await calls(kind, "orders", "crud", "bare"),
                    clients=CLIENTS,
                    seconds=seconds / 2,
                )
                for kind in ("get", "list")
            ],
        ]
        yield Field(contests, orders)


def _always(name: str, call: Callable[[], Awaitable[object]]) -> Choose:
    async def operation() -> None:
        await call()

    return lambda: (name, operation)


async def measure(rounds: int, seconds: float, progress: Progress) -> Report:
    """Every contest, every contender, every round.

    Raises:
        EmbeddedError, CannotLoad, OSError: it cannot be done.
        CallFailed: a service answered what was not expected.
    """
    chance = random.Random(SEED)  # noqa: S311 - an order by chance, and the same the next time
    measured: list[Measured] = []
    progress.say("Starting PostgreSQL, Temporal, and everything that is measured")
    async with Rig.started() as rig, _field(rig, seconds) as field:
        heats = [(contest, name) for contest in field.contests for name in contest.contenders]
        for contest, name in heats:
            await _heat(rig, contest, name, 0, min(WARM_UP_SECONDS, contest.seconds))
        for number in range(1, rounds + 1):
            # The contenders of a contest follow each other, so that a ratio is one of neighbours.
            for contest in chance.sample(field.contests, len(field.contests)):
                for name in chance.sample(list(contest.contenders), len(contest.contenders)):
                    progress.count("measurements:", len(measured), rounds * len(heats))
                    measured.append(await _heat(rig, contest, name, number, contest.seconds))
        order = await _live(field.product)
        lives = {
            "orders": await _life(rig.client, workflow_id(UUID(order))),
            "floor": await _life(rig.client, await _live(Floor(rig.client))),
        }
        return Report(
            rounds=rounds,
            measured=measured,
            lives=lives,
            versions=await rig.versions(),
        )


async def _heat(rig: Rig, contest: Contest, name: str, number: int, seconds: float) -> Measured:
    before = rig.cpu_seconds()
    result = await run(contest.contenders[name], clients=contest.clients, duration=seconds)
    after = rig.cpu_seconds()
    if result.errors or result.notes:
        said = [*result.messages.values(), *(note for _, note in result.notes)]
        raise CallFailed("failed", f"{contest.name}, {name}: {'; '.join(said)}")
    return Measured(
        contest=contest.name,
        contender=name,
        round=number,
        latencies={kind: sorted(values) for kind, values in result.latencies.items()},
        elapsed=result.elapsed,
        cpu={"client": result.cpu} | {it: after[it] - before[it] for it in after},
    )


async def _live(service: Service | Floor) -> str:
    """Live through one order; its id."""
    order = await service.create()
    for status in CHANGES:
        await service.change(order, status)
    return order


async def _life(client: Client, workflow: str) -> Life:
    handle = client.get_workflow_handle(workflow)
    await handle.result()
    described = (await handle.describe()).raw_description.workflow_execution_info
    return life_of(await handle.fetch_history(), described)


def main() -> int:
    """Run as the command line says: 0 all is well, 1 it is not, 2 it cannot run, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=__doc__,
        epilog=main.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"({ROUNDS})")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of each measurement ({SECONDS:g})")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks", help="a folder")
    parser.add_argument("--short", action="store_true", help="one quick round, to see that all of it works")
    asked = parser.parse_args()
    if asked.rounds < 1 or asked.seconds <= 0:
        parser.error("--rounds and --seconds must be more than 0")
    progress = Progress()
    return command.run("bench", bench(asked, progress), progress)


async def bench(asked: argparse.Namespace, progress: Progress) -> int:
    """Measure, and tell; 1 when the short form finds what must be broken."""
    rounds, seconds = (1, SHORT_SECONDS) if asked.short else (asked.rounds, asked.seconds)
    report = await measure(rounds, seconds, progress)
    sys.stdout.write(table_of(report))
    if not asked.short:
        write(asked.out, report, f"scripts/bench --rounds {rounds} --seconds {seconds:g}")
        progress.say(f"{asked.out} is written")
        return 0
    far_off = broken(report)
    for line in far_off:
        sys.stderr.write(f"bench: {line}\n")
    return command.FAILED if far_off else 0


if __name__ == "__main__":
    # Not `sys.exit`: the Temporal SDK's native threads may still be at work.
    process.leave(main())
