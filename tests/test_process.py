import signal

import pytest

from tests.processes import run_to_its_end, started

# A process that says something on its way out has been finalized by the interpreter, which can crash it.
_MAIN = """
import asyncio, atexit, os, signal, sys
import process
from settings import ConfigurationError

atexit.register(print, "finalized")

async def main():
    {body}

process.run("worker", main)
"""


def a_process(body: str) -> tuple[str, str]:
    return "-c", _MAIN.format(body=body)


async def test_a_process_that_has_done_its_work_ends_with_code_0() -> None:
    assert await run_to_its_end(*a_process("print('done')")) == (0, ["done"])


async def test_collections_leave_alone_what_was_imported() -> None:
    body = "import gc; print(gc.get_freeze_count() > 5_000, len(gc.get_objects()) < 5_000)"

    assert await run_to_its_end(*a_process(body)) == (0, ["True True"])


async def test_a_configuration_error_is_one_line_and_exit_code_2() -> None:
    body = "raise ConfigurationError('LOG_LEVEL: is loud')"

    assert await run_to_its_end(*a_process(body)) == (2, ["worker: LOG_LEVEL: is loud"])


async def test_the_exit_code_that_a_library_chose_is_kept() -> None:
    assert await run_to_its_end(*a_process("sys.exit(3)")) == (3, [])


async def test_an_interrupt_that_nobody_handles_ends_quietly_as_a_shell_expects() -> None:
    body = "os.kill(os.getpid(), signal.SIGINT); await asyncio.sleep(60)"

    assert await run_to_its_end(*a_process(body)) == (130, [])


async def test_a_job_that_is_told_to_stop_before_its_end_does_not_claim_success() -> None:
    body = "os.kill(os.getpid(), signal.SIGTERM); await asyncio.sleep(60)"

    assert await run_to_its_end(*a_process(body)) == (143, [])


async def test_a_failure_that_nobody_foresaw_is_told_in_full_and_ends_the_process_with_code_1() -> None:
    code, log = await run_to_its_end(*a_process("raise RuntimeError('unforeseen')"))

    assert code == 1
    assert "Traceback (most recent call last):" in log
    assert "RuntimeError: unforeseen" in log
    assert "finalized" not in log


async def test_leaving_writes_what_is_still_buffered() -> None:
    leaving = "import process, sys; sys.stdout.write('buffered'); process.leave(7)"

    assert await run_to_its_end("-c", leaving) == (7, ["buffered"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_request_to_stop_is_an_event_that_the_process_can_wait_for(number: signal.Signals) -> None:
    body = "stop = process.stop_requested(); print('ready', flush=True); await stop.wait(); print('in order')"

    async with started(*a_process(body)) as run:
        await run.until_said("ready")
        assert await run.asked_to_stop(number) == 0
        assert run.log == ["ready", "in order"]
