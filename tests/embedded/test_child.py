import asyncio
import signal
import socket

import pytest

from embedded.child import Child, EmbeddedError, Program, free_port, running, until_it_answers
from tests.embedded.conftest import python

WAITS = "import time; print('up', flush=True); time.sleep(60)"
IGNORES_SIGTERM = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAITS}"


async def started(program: Program) -> Child:
    """The program, after its first line of output."""
    up = asyncio.Event()
    child = await Child.start(program, lambda _line: up.set())
    await asyncio.wait_for(up.wait(), 30)
    return child


async def test_a_program_is_asked_to_stop() -> None:
    child = await started(python(WAITS))

    await child.stop()

    assert await child.wait() == -signal.SIGTERM


async def test_a_program_that_does_not_stop_is_killed() -> None:
    child = await started(python(IGNORES_SIGTERM, patience=0.1))

    await child.stop()

    assert await child.wait() == -signal.SIGKILL


async def test_stopping_a_program_that_has_ended_does_nothing() -> None:
    child = await Child.start(python("raise SystemExit(3)"))
    await child.wait()

    await child.stop()

    assert child.ended
    assert await child.wait() == 3


async def test_every_line_is_shown_however_long_and_even_without_an_end() -> None:
    lines: list[str] = []
    child = await Child.start(python("print('a' * 1_000_000); print(); print('b', end='')"), lines.append)

    await child.wait()

    assert "".join(lines) == "a" * 1_000_000 + "b"
    assert lines[-1] == "b"


async def test_the_end_does_not_wait_for_a_grandchild_that_holds_the_output() -> None:
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(8)'])"
    child = await Child.start(python(code))

    async with asyncio.timeout(6):
        assert await child.wait() == 0


async def test_a_program_that_ends_instead_of_answering_is_reported_with_its_last_words() -> None:
    async def never() -> bool:
        return False

    dies = python("raise SystemExit('no disk')")
    program = Program(name="dies", command=dies.command, environment={}, folder=dies.folder, answers=never)

    with pytest.raises(EmbeddedError, match=r"^dies did not start: no disk$"):
        async with running(program):
            pass


async def test_waiting_for_an_answer_has_an_end() -> None:
    async def never() -> bool:
        return False

    program = Program(name="mute", command=(), environment={}, folder=python("").folder, answers=never)

    with pytest.raises(EmbeddedError, match=r"^mute did not answer within 0\.2 seconds$"):
        await until_it_answers(program, patience=0.2)


async def test_a_program_that_does_not_exist_is_named() -> None:
    program = python("")
    missing = Program(
        name="missing",
        command=("/no/such/program",),
        environment={},
        folder=program.folder,
        answers=program.answers,
    )

    with pytest.raises(EmbeddedError, match=r"^cannot run /no/such/program: No such file or directory$"):
        await Child.start(missing)


def test_free_ports_are_not_offered_twice_and_can_be_listened_on() -> None:
    ports = [free_port() for _ in range(50)]

    assert len(set(ports)) == 50
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()
