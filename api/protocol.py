"""A connection between the network and the application: what a client may cost before it is understood.

A client may be slow, silent, endless or malformed. Each of them gets a problem or a closed connection
within bounded time and memory, and no other client notices.
"""

import asyncio
import logging
from http import HTTPStatus
from typing import Any, cast
from uuid import uuid4

import httptools
from starlette.datastructures import MutableHeaders
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from api.request_id import HEADER, Fate, add_security_fields, fate_of, instance_of
from api.schemas import Problem

logger = logging.getLogger("api.access")

_PIECE_BYTES = 16 * 1024


class _Refusal(Exception):  # noqa: N818 - the name is the fact
    """A request that is not taken; `str()` says why."""

    def __init__(self, status: HTTPStatus, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's connection, with bounds on what it leaves open.

    Only what is written here is bounded here: the size of a body is the application's matter.
    """

    request_seconds = 10.0
    """From the opening of a connection, or the first byte on a kept-alive one, to a whole request."""

    answer_seconds = 60.0
    """From the moment when an answer is ready until the client has taken it."""

    linger_seconds = 2.0
    """How long a client that is still sending may take to notice that it was refused."""

    max_framing = 64 * 1024
    """Bytes of a request that are not its body: the head, and the sizes and trailers of chunks."""

    max_headers = 100
    max_pipelined = 16

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*arguments, **named)
        self._arriving: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None
        self._parting: asyncio.TimerHandle | None = None
        self._is_deaf = False
        # Of the request that is arriving.
        self._has_begun = False
        self._has_head = False
        self._framing = 0
        # The last request that has arrived whole.
        self._whole: RequestResponseCycle | None = None
        # A request that waits until what came with it is known to be well-formed.
        self._held: tuple[RequestResponseCycle, Any] | None = None
        self._is_feeding = False

    # What the transport tells.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the first request its time."""
        super().connection_made(transport)
        self._arriving = self.loop.call_later(self.request_seconds, self._end_arriving)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget every timer."""
        for timer in (self._arriving, self._taking, self._parting):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come, or refuse it."""
        if self._is_deaf:
            return
        self._unset_keepalive_if_required()
        if self._taking is not None and not self.transport.get_write_buffer_size():
            self._taking.cancel()
            self._taking = None
        if self._arriving is None and not self._owes_an_answer:
            # By whatever byte comes first: line ends before a request may otherwise go on for ever.
            self._arriving = self.loop.call_later(self.request_seconds, self._end_arriving)
        self._is_feeding = True
        try:
            for start in range(0, len(data), _PIECE_BYTES):
                self._feed(data[start : start + _PIECE_BYTES])
        except _Refusal as refusal:
            self._refuse(refusal)
        finally:
            self._is_feeding = False
        if self._held is not None:
            held, self._held = self._held, None
            self._start_asgi_task(*held)
        self._watch()

    def pause_writing(self) -> None:
        """Give the client its time to take an answer that is longer than what the transport buffers."""
        super().pause_writing()
        if self._taking is None:
            self._taking = self.loop.call_later(self.answer_seconds, self._end_taking)

    def _feed(self, piece: bytes) -> None:
        """Parse a piece; a refusal of ours comes out of the parser as itself, every other as a 400."""
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            self._parse_without_upgrade(piece[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, _Refusal):
                raise error.__context__ from None
            raise _Refusal(
                HTTPStatus.BAD_REQUEST, "malformed_request", "The request is not well-formed HTTP/1.1"
            ) from error
        else:
            self._framing += len(piece)
        if self._has_begun and self._framing > self.max_framing:
            raise _Refusal(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                "head_too_large",
                f"The request has more than {self.max_framing} bytes beside its body",
            )

    def _parse_without_upgrade(self, rest: bytes) -> None:
        """Take a request that offers another protocol for what it is without the offer.

        The parser would take its body for the other protocol, or for a request of its own.
        """
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s" % field for field in self.headers if field[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self._feed(b"\r\n".join([*lines, b"", b""]) + rest)

    # What the parser tells.

    def on_message_begin(self) -> None:
        """Begin to count."""
        if len(self.pipeline) >= self.max_pipelined:
            # Never sent: the answers to the earlier ones come first, and then the end.
            raise _Refusal(HTTPStatus.TOO_MANY_REQUESTS, "pipelined", "Too many requests without an answer")
        super().on_message_begin()
        self._has_begun = True
        self._has_head = False
        self._framing = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field of the head. One after the body is dropped: nobody has agreed to merge it."""
        if self._has_head:
            return
        if len(self.headers) >= self.max_headers:
            raise _Refusal(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                "head_too_large",
                f"The request has more than {self.max_headers} header fields",
            )
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the request over, once the rest of what came with it is understood, too."""
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise _Refusal(HTTPStatus.BAD_REQUEST, "malformed_request", "This is not a proxy")
            return
        super().on_headers_complete()
        self._has_head = True
        self.cycle.transport = cast(asyncio.Transport, _PartingTransport(self))

    def on_body(self, body: bytes) -> None:
        """Take the body out of the count."""
        self._framing -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request has arrived."""
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        self._has_begun = False
        self._whole = self.cycle
        if self._arriving is not None:
            self._arriving.cancel()
            self._arriving = None

    # What the application is given, and gives.

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401 - uvicorn's own
        """Start the application, but not on a request whose very head may yet turn out to be broken."""
        if self._is_feeding:
            self._held = (cycle, app)
        else:
            super()._start_asgi_task(cycle, _parting_early(cycle, app))

    def on_response_complete(self) -> None:
        """Give the client its time to take the answer, and the next request to come."""
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None
        if self.transport.get_write_buffer_size():
            self._taking = self.loop.call_later(self.answer_seconds, self._end_taking)
        if self._parting is None:
            super().on_response_complete()
            self._watch()

    def part(self) -> None:
        """Close, after an answer: at once, or so that a client that is still sending can read it.

        A connection that is closed with bytes unread is reset, and the reset overtakes the answer.
        """
        if self.transport.is_closing() or not (self._has_begun or self._is_deaf):
            self.transport.close()
        elif self._parting is None:
            self._is_deaf = True
            self.flow.resume_reading()
            try:
                self.transport.write_eof()
            except OSError:  # the client has reset the connection: there is nobody to part from
                self.transport.abort()
                return
            self._parting = self.loop.call_later(self.linger_seconds, self.transport.abort)

    # Time, and refusals.

    @property
    def _owes_an_answer(self) -> bool:
        return self._whole is not None and not self._whole.response_complete

    def _watch(self) -> None:
        """Bound the wait for the client, where the next step is the client's."""
        if self._is_deaf or self._owes_an_answer or self._arriving is not None or self.transport.is_closing():
            return
        if self._has_begun:
            self._unset_keepalive_if_required()
            self._arriving = self.loop.call_later(self.request_seconds, self._end_arriving)
        elif self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _end_arriving(self) -> None:
        self._arriving = None
        if self._is_deaf or self.transport.is_closing():
            return
        if self._has_begun:
            detail = f"The request did not arrive within {self.request_seconds:g} seconds"
            self._refuse(_Refusal(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", detail))
        else:
            self.transport.close()

    def _end_taking(self) -> None:
        self._taking = None
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def _refuse(self, refusal: _Refusal) -> None:
        """Answer nothing more than what is owed and, where nothing is, the refusal; then part."""
        self._is_deaf = True
        own = self.cycle if self._has_begun and self._has_head else None
        is_carried_out = own is not None
        if self._held is not None and self._held[0] is own:
            self._held = None
            is_carried_out = False
        if self._whole is not None and not self._whole.response_complete:
            # The client would take a refusal for the answer to the request before.
            self._whole.keep_alive = False
            return
        if own is None or not own.response_started:
            self.transport.write(self._answer(refusal, own, is_carried_out=is_carried_out))
        if own is not None:
            own.disconnected = True
            own.message_event.set()
            self.flow.resume_writing()
            if own.response_started and not own.response_complete:
                self.transport.abort()
                return
        self.part()

    def _answer(
        self, refusal: _Refusal, cycle: RequestResponseCycle | None, *, is_carried_out: bool
    ) -> bytes:
        """The refusal as bytes; the log tells of it where the application does not."""
        fate = fate_of(_scope_of(cycle)) if cycle else Fate(str(uuid4()))
        fate.refused_with = int(refusal.status)
        request_id = fate.request_id
        problem = Problem(
            type=f"urn:orders:problem:{refusal.code}",
            title=refusal.status.phrase,
            status=refusal.status,
            detail=str(refusal),
            instance=instance_of(_scope_of(cycle), request_id) if cycle else f"urn:uuid:{request_id}",
            code=refusal.code,
            request_id=request_id,
        )
        body = problem.model_dump_json(exclude_none=True).encode()
        headers = MutableHeaders(
            {
                HEADER: request_id,
                "Content-Type": "application/problem+json",
                "Content-Length": str(len(body)),
                "Connection": "close",
            }
        )
        add_security_fields(headers)
        if not is_carried_out:
            logger.info(
                "Refused: %s",
                refusal,
                extra={
                    "request_id": request_id,
                    "address": self.client[0] if self.client else None,
                    "status": int(refusal.status),
                },
            )
        fields = [*self.server_state.default_headers, *headers.raw]
        lines = [b"%s: %s\r\n" % field for field in fields]
        return b"".join([STATUS_LINE[refusal.status], *lines, b"\r\n", body])


def _scope_of(cycle: RequestResponseCycle) -> Scope:
    return cast(Scope, cycle.scope)


def _parting_early(cycle: RequestResponseCycle, app: Any) -> Any:  # noqa: ANN401 - uvicorn's own
    """The application, whose answer is the end of the connection where the body has not all come by then.

    Nobody is going to read the rest, of which there may be any amount.
    """

    async def answering(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_part(message: Message) -> None:
            if message["type"] == "http.response.start" and cycle.more_body:
                cycle.keep_alive = False
            await send(message)

        await app(scope, receive, send_and_part)

    return answering


class _PartingTransport:
    """The transport as an answer knows it: it parts in peace."""

    def __init__(self, connection: BoundedProtocol) -> None:
        self.write = connection.transport.write
        self.is_closing = connection.transport.is_closing
        self.close = connection.part
