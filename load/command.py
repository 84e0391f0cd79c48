"""`orders load`: what is asked for, checked, and what the exit code says."""

import resource
import signal
import sys
from dataclasses import asdict, dataclass

import process
from load.calls import READS, WRITES, CannotLoad, orders_at
from load.engine import MOST_IN_FLIGHT, Result, run
from load.report import shown, tell, to_json

_USUAL_CLIENTS = 8

# Connections, and what a process has open besides.
_OPEN_FILES = MOST_IN_FLIGHT + 200
_LONGEST_WEIGHT = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The load that is asked for: so many calls a second, or by so many clients (8), for so many seconds.

    Raises:
        CannotLoad: it makes no sense.
    """

    api: str
    rate_per_second: float | None
    clients: int | None
    duration_seconds: float
    mix: dict[str, int]
    seed: int

    def __post_init__(self) -> None:
        """Refuse what makes no sense; where neither rate nor clients are given, there are clients."""
        if self.rate_per_second is not None and self.clients is not None:
            raise CannotLoad("--rate and --clients exclude each other")
        for option, value, most in (
            ("--rate", self.rate_per_second, 100_000),
            ("--clients", self.clients, MOST_IN_FLIGHT),
            ("--duration", self.duration_seconds, 86_400),
        ):
            if value is not None and not 0 < value <= most:
                raise CannotLoad(f"{option} must be above 0 and at most {most:,}")
        if self.rate_per_second is None and self.clients is None:
            object.__setattr__(self, "clients", _USUAL_CLIENTS)

    @property
    def title(self) -> str:
        """The same in words."""
        how = f"{self.clients} clients" if self.clients else f"{self.rate_per_second:g} calls a second"
        mix = ",".join(f"{name}={weight}" for name, weight in self.mix.items())
        return f"{self.api}, {how}, {mix}, seed {self.seed}"


def parse_mix(text: str) -> dict[str, int]:
    """The weight of each kind of call, from text such as `create=1,get=6`.

    Raises:
        CannotLoad: a name is unknown or there twice, a weight is not a whole number, or all are 0.
    """
    mix: dict[str, int] = {}
    for part in text.split(","):
        name, _, weight = (word.strip() for word in part.partition("="))
        if name not in WRITES + READS:
            raise CannotLoad(f"--mix: there is no call {name!r}, only {', '.join(WRITES + READS)}")
        if name in mix:
            raise CannotLoad(f"--mix: {name} is there twice")
        if not (weight.isascii() and weight.isdigit() and len(weight) <= _LONGEST_WEIGHT):
            raise CannotLoad(f"--mix: the weight of {name} must be a whole number, as in {name}=1")
        mix[name] = int(weight)
    if not any(mix.values()):
        raise CannotLoad("--mix: no weight is above 0")
    return {name: weight for name, weight in mix.items() if weight}


async def put_load(asked: Asked, *, key: str | None, as_json: bool) -> None:
    """Put the load on, tell what came of it, and leave the process.

    The exit code is 0 when every call was answered as expected, 1 when one was not or there could be no load,
    130 when it was interrupted.
    """
    _allow_many_connections()
    try:
        async with orders_at(asked.api, asked.mix, seed=asked.seed, key=key) as orders:
            with shown(asked.duration_seconds) as progress:
                result = await run(
                    orders.choose,
                    rate=asked.rate_per_second,
                    clients=asked.clients,
                    duration=asked.duration_seconds,
                    seed=asked.seed,
                    progress=progress,
                    stop=process.stop_requested(),
                )
    except CannotLoad as refusal:
        sys.stderr.write(f"orders: {refusal}\n")
        process.leave(1)
    if as_json:
        sys.stdout.write(to_json(result, asdict(asked)) + "\n")
    else:
        tell(result, asked.title)
    process.leave(_exit_code(result))


def _exit_code(result: Result) -> int:
    if result.is_interrupted:
        return 128 + signal.SIGINT
    return 1 if result.errors else 0


def _allow_many_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _OPEN_FILES:
        wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
