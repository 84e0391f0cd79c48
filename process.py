"""How every process of the system ends: one line when it cannot work, and never a crash on the way out."""

import asyncio
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine
from importlib.util import find_spec
from typing import Any, NoReturn, TypeVar

from settings import ConfigurationError

CONFIGURATION_EXIT_CODE = 2
INTERRUPTED_EXIT_CODE = 128 + signal.SIGINT

T = TypeVar("T")


def run(name: str, main: Callable[[], Coroutine[Any, Any, None]]) -> NoReturn:
    """Run a process's main coroutine to its end and leave.

    A `ConfigurationError` becomes one line on standard error and exit code 2.
    """
    # What has been imported stays to the end: a full collection that looked through all of it would stop a
    # process that serves for a tenth of a second, now and then (docs/decisions/0011).
    gc.freeze()
    try:
        # Never closed: the process leaves at once, and uvloop's refuses to close on open connections.
        asyncio.Runner(loop_factory=_new_event_loop).run(_until_told_to_stop(main))
    except ConfigurationError as error:
        sys.stderr.write(f"{name}: {error}\n")
        leave(CONFIGURATION_EXIT_CODE)
    except asyncio.CancelledError:
        leave(128 + signal.SIGTERM)  # Told to stop before the work was done.
    except KeyboardInterrupt:
        leave(INTERRUPTED_EXIT_CODE)
    except Exception:  # noqa: BLE001 - the process's outermost edge: told in full, then left like the others
        traceback.print_exc()
        leave(1)
    except SystemExit as ended:  # uvicorn, where it cannot listen; it has said why
        leave(ended.code if isinstance(ended.code, int) else 1)
    leave(0)


def _new_event_loop() -> asyncio.AbstractEventLoop:
    """A loop of uvloop's, which spends less on each request, where the platform has one."""
    if find_spec("uvloop") is None:
        return asyncio.new_event_loop()
    import uvloop  # noqa: PLC0415 - see above

    return uvloop.new_event_loop()


async def _until_told_to_stop(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run the coroutine; SIGTERM ends it where it is, until it asks for `stop_requested` itself."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await main()


async def until_told_to_stop(work: Coroutine[Any, Any, T]) -> T:
    """What comes of the work; SIGTERM and Ctrl-C cancel it where it is, and it may tidy up then."""
    task = asyncio.ensure_future(work)
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, task.cancel)
    return await task


def leave(code: int) -> NoReturn:
    """End the process at once, with nothing left unwritten.

    The Temporal SDK's native threads may call into an interpreter that is finalizing and abort it
    (sdk-python issue 300), which would turn a success into exit code 134. So we do not finalize.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def stop_requested() -> asyncio.Event:
    """An event that SIGTERM and Ctrl-C set, in the running loop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    return stop
