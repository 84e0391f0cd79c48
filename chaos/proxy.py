"""A TCP line between a process and what it depends on, which can be made to misbehave."""

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass, field

MOST_BYTES = 65_536


@dataclass
class Line:
    """Carries every connection to one server.

    Nothing that was sent is ever dropped from the middle of a connection: a half-open line keeps what it does
    not carry and delivers it late, as a network does that loses packets and sends them again.
    """

    host: str
    port: int
    delay: float = 0.0
    """Seconds that everything takes longer, each way."""
    _is_cut: bool = False
    _outward: asyncio.Event = field(default_factory=asyncio.Event)
    _homeward: asyncio.Event = field(default_factory=asyncio.Event)
    _ends: set[asyncio.StreamWriter] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.mend()

    async def listen(self, port: int) -> asyncio.Server:
        """Serve the line at a port of 127.0.0.1."""
        return await asyncio.start_server(self._carry, "127.0.0.1", port)

    def cut(self) -> None:
        """Break every connection, and refuse new ones."""
        self._is_cut = True
        self.reset()

    def reset(self) -> None:
        """Break every connection."""
        for end in self._ends:
            _abort(end)

    def hold(self, *, outward: bool) -> None:
        """Carry nothing to the server any more, or nothing from it."""
        (self._outward if outward else self._homeward).clear()

    def mend(self) -> None:
        """Carry everything again, what was held first."""
        self.delay = 0.0
        self._is_cut = False
        self._outward.set()
        self._homeward.set()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ends.add(writer)
        there: asyncio.StreamWriter | None = None
        try:
            if self._is_cut:
                return
            server, there = await asyncio.open_connection(self.host, self.port)
            self._ends.add(there)
            await asyncio.gather(
                self._pump(reader, there, self._outward), self._pump(server, writer, self._homeward)
            )
        except OSError:
            pass  # Either side has gone: so has the other, below.
        finally:
            for end in (writer, there):
                if end is not None:
                    end.close()
                    self._ends.discard(end)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passes: asyncio.Event
    ) -> None:
        while data := await reader.read(MOST_BYTES):
            await passes.wait()
            await asyncio.sleep(self.delay)
            writer.write(data)
            await writer.drain()
        await passes.wait()
        with contextlib.suppress(OSError):
            writer.write_eof()


def _abort(end: asyncio.StreamWriter) -> None:
    """Break a connection so that the other side gets an error, not an orderly end."""
    socket_: socket.socket = end.get_extra_info("socket")
    with contextlib.suppress(OSError):
        socket_.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_GOODBYE)
    end.transport.abort()


_NO_GOODBYE = struct.pack("ii", 1, 0)
