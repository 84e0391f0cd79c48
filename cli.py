"""The `orders` command. Each command imports what it needs when it runs, so that `--help` is quick."""
# ruff: noqa: PLC0415 - see above

import asyncio
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

app = typer.Typer(
    help="A durable order processing system: Temporal, PostgreSQL and FastAPI.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command()
def dev() -> None:
    """Run the whole system on this machine: PostgreSQL, Temporal with its Web UI, a worker and the API.

    Its data is kept in `.data/` (ORDERS_DATA_DIR) and is there again at the next start. Where DATABASE_URL
    or TEMPORAL_ADDRESS is set, that server is used and none is started. Ctrl-C stops everything.
    """
    from embedded.child import EmbeddedError
    from settings import load_settings

    with _leaving(EmbeddedError, ModuleNotFoundError, OSError):
        from embedded.stack import Stack  # needs more than production has installed

        asyncio.run(Stack(load_settings()).run())


@app.command()
def migrate() -> None:
    """Bring the database of DATABASE_URL to the newest schema; a second time changes nothing."""
    import asyncpg
    from sqlalchemy.exc import SQLAlchemyError

    from database.migrate import migrate as migrate_database
    from settings import load_settings

    with _leaving(
        SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, about="DATABASE_URL: "
    ):
        migrate_database(load_settings().require_database_url())


@app.command()
def schedule() -> None:
    """Declare the schedules of the promotion and of the doctor's checkup; a second time updates them."""
    from schedule import main as declare_schedule

    declare_schedule()


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The file to write; it must not be there yet.")],
) -> None:
    """Write the database of DATABASE_URL to a file, as of one moment, while everything runs."""
    from backup import BackupError
    from backup import backup as write_backup
    from settings import load_settings

    with _leaving(BackupError, OSError):
        write_backup(load_settings(), file)


@app.command()
def restore(file: Annotated[Path, typer.Argument(help="A file that `orders backup` has written.")]) -> None:
    """Fill the empty database of DATABASE_URL from a backup; `orders doctor --repair` then updates it."""
    from backup import BackupError
    from backup import restore as read_backup
    from database.engine import DatabaseUnavailable
    from settings import load_settings

    with _leaving(BackupError, DatabaseUnavailable, OSError):
        read_backup(load_settings(), file)


keys_app = typer.Typer(help="API keys: who may call the API, and for what.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")


@keys_app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Whom the key is for, as histories and logs show it.")],
    scope: Annotated[
        list[str],
        typer.Option(
            help="orders:read, orders:write or orders:operate; may be given several times. All by default."
        ),
    ] = [],  # noqa: B006 - Typer copies it
) -> None:
    """Make a key and print it, this once: only a digest of it is kept."""
    with _leaving_keys():
        import keys

        keys.create_key(name, scope)


@keys_app.command("list")
def list_keys() -> None:
    """Show every key that was ever made, and which are revoked."""
    with _leaving_keys():
        import keys

        keys.list_keys()


@keys_app.command("revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(help="As `orders keys list` shows it.")]) -> None:
    """Revoke a key for good; every API process refuses it within seconds."""
    with _leaving_keys():
        import keys

        keys.revoke_key(key_id)


@app.command()
def demo(
    api_url: Annotated[
        str, typer.Argument(help="Where the API answers; by default as ORDERS_API_HOST and _PORT say.")
    ] = "",
    key: Annotated[
        str | None, typer.Option(envvar="ORDERS_API_KEY", help="An API key, where the API asks for one.")
    ] = None,
) -> None:
    """Walk through the whole system and show what it answers; `orders dev` must be running."""
    from demo import run_demo
    from process import leave
    from settings import load_settings

    with _leaving(OSError):
        settings = load_settings()
        leave(run_demo(api_url or f"http://{settings.api_host}:{settings.api_port}", settings, key))


@app.command()
def doctor(
    *,
    deep: Annotated[
        bool, typer.Option("--deep", help="Ask every workflow for its whole order, not only for its status.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Write what the workflows say over what PostgreSQL has.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer with one JSON object.")] = False,
    revive: Annotated[
        UUID | None,
        typer.Option(metavar="ORDER", help="Only this: give an order that lost its workflow a new one."),
    ] = None,
) -> None:
    """Compare every order in PostgreSQL with its workflow, and say what differs and what to do.

    Exit code 0: all is well, or was mended. 1: something is not. 2: could not look.
    """
    from doctor.command import run_doctor, run_revival
    from process import leave
    from settings import load_settings

    with _leaving(OSError):
        settings = load_settings()
        if revive:
            leave(run_revival(settings, revive))
        leave(run_doctor(settings, deep=deep, repair=repair, as_json=as_json))


@app.command()
def load(  # noqa: PLR0913 - each is an option of the command
    api_url: Annotated[
        str, typer.Argument(help="Where the API answers; by default as ORDERS_API_HOST and _PORT say.")
    ] = "",
    *,
    rate: Annotated[
        float | None,
        typer.Option(help="So many calls a second, whatever the answers do; waiting counts as latency."),
    ] = None,
    clients: Annotated[
        int | None,
        typer.Option(help="So many clients, each waiting for its answer before its next call. [default: 8]"),
    ] = None,
    duration: Annotated[float, typer.Option(metavar="SECONDS", help="For so long.")] = 30,
    mix: Annotated[
        str,
        typer.Option(
            help="Kinds of calls and their weights: create, change, cancel, lifecycle, get, list, history."
        ),
    ] = "create=1,get=6,list=2,change=1",
    key: Annotated[
        str | None, typer.Option(envvar="ORDERS_API_KEY", help="An API key, where the API asks for one.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed draws the same calls.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Answer with one JSON object.")] = False,
) -> None:
    """Put a load on any deployment and measure its answers. It CREATES and moves orders, which stay.

    With a mix of get, list and history alone, it only reads. Ctrl-C ends it with what was measured so far.

    Exit code 0: every call was answered as expected. 1: one was not, or there could be no load.
    """
    import process
    from load.calls import CannotLoad
    from load.command import Asked, parse_mix, put_load
    from settings import load_settings

    with _leaving(CannotLoad):
        settings = load_settings()
        asked = Asked(
            api=api_url or f"http://{settings.api_host}:{settings.api_port}",
            rate_per_second=rate,
            clients=clients,
            duration_seconds=duration,
            mix=parse_mix(mix),
            seed=seed,
        )
        process.run("orders", lambda: put_load(asked, key=key, as_json=as_json))


def _leaving_keys() -> AbstractContextManager[None]:
    from sqlalchemy.exc import SQLAlchemyError

    from database.engine import DatabaseUnavailable

    return _leaving(DatabaseUnavailable, SQLAlchemyError, ValueError, OSError)


@contextmanager
def _leaving(*expected: type[Exception], about: str = "") -> Iterator[None]:
    """Leave with code 0, or tell an expected failure in one line: code 2 where a setting is wrong, else 1."""
    from process import CONFIGURATION_EXIT_CODE, leave
    from settings import ConfigurationError

    code, reason = 0, ""
    try:
        yield
    except ConfigurationError as error:
        code, reason = CONFIGURATION_EXIT_CODE, str(error)
    except expected as error:
        code, reason = 1, about + (str(error) or type(error).__name__)
    if reason:
        sys.stderr.write(f"orders: {reason.splitlines()[0]}\n")
    leave(code)


def main() -> None:
    """Run the command."""
    app()


if __name__ == "__main__":
    main()
