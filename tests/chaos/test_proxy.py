import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from chaos.proxy import Line
from embedded.child import free_port

PATIENCE = 10
A_MOMENT = 0.2


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(100):
            writer.write(data)
            await writer.drain()
    writer.close()


class Pair:
    """A connection through a line to a server that sends back what it gets."""

    def __init__(self, line: Line, port: int) -> None:
        self.line = line
        self._port = port
        self._ends: list[asyncio.StreamWriter] = []

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._ends.append(writer)
        return reader, writer

    async def close(self) -> None:
        self.line.cut()
        for end in self._ends:
            end.close()
            with suppress(ConnectionError):
                await end.wait_closed()


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    line = Line("127.0.0.1", server.sockets[0].getsockname()[1])
    port = free_port()
    async with await line.listen(port):
        pair = Pair(line, port)
        yield pair
        await pair.close()
    server.close()


async def said(reader: asyncio.StreamReader) -> bytes:
    return await asyncio.wait_for(reader.read(100), PATIENCE)


async def test_a_line_carries_both_ways(pair: Pair) -> None:
    reader, writer = await pair.connect()
    writer.write(b"hello")

    assert await said(reader) == b"hello"


async def test_a_cut_breaks_what_is_open_and_refuses_what_is_new(pair: Pair) -> None:
    reader, writer = await pair.connect()
    writer.write(b"hello")
    await said(reader)

    pair.line.cut()

    with pytest.raises(ConnectionResetError):
        await said(reader)
    new_reader, _ = await pair.connect()
    assert await said(new_reader) == b""


@pytest.mark.parametrize("outward", [True, False])
async def test_a_half_open_line_delivers_late_what_it_held(pair: Pair, *, outward: bool) -> None:
    reader, writer = await pair.connect()
    pair.line.hold(outward=outward)
    writer.write(b"hello")

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(100), A_MOMENT)
    pair.line.mend()

    assert await said(reader) == b"hello"


async def test_a_slow_line_takes_its_time(pair: Pair) -> None:
    pair.line.delay = 2 * A_MOMENT
    reader, writer = await pair.connect()
    writer.write(b"hello")

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(100), A_MOMENT)

    assert await said(reader) == b"hello"


async def test_the_end_of_one_side_reaches_the_other(pair: Pair) -> None:
    reader, writer = await pair.connect()
    writer.write_eof()

    assert await said(reader) == b""
