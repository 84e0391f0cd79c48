"""What every request and answer has: an id, a line in the log, and the fields that keep browsers careful."""

import logging
import re
import time
from contextvars import ContextVar
from dataclasses import dataclass
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.keys import Caller

HEADER = "X-Request-ID"
_ACCEPTABLE = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_LONGEST_PATH = 200
_request_id: ContextVar[str] = ContextVar("request_id", default="none")

logger = logging.getLogger("api.access")


def current_request_id() -> str:
    """The id of the request that is being answered."""
    return _request_id.get()


def instance_of(scope: Scope, request_id: str) -> str:
    """What a problem calls its occurrence: the path as it was sent, or the request's id where it is long."""
    path = raw_path(scope)
    return path if len(path) <= _LONGEST_PATH else f"urn:uuid:{request_id}"


def raw_path(scope: Scope) -> str:
    """The path with its percent-encoding, so that no character of it does anything but stand there."""
    path: str = scope["raw_path"].decode("ascii", "backslashreplace")
    return path


@dataclass(slots=True)
class Fate:
    """What the server and the application tell each other of a request: it is one line in the log."""

    request_id: str
    refused_with: int | None = None
    """The status that the server has answered with by itself, before the application could."""


def fate_of(scope: Scope) -> Fate:
    """The fate of a request; the first who asks gives it its id."""
    state = scope.setdefault("state", {})
    if "fate" not in state:
        given = Headers(scope=scope).get(HEADER, "")
        state["fate"] = Fate(given if _ACCEPTABLE.fullmatch(given) else str(uuid4()))
    fate: Fate = state["fate"]
    return fate


class RequestIdMiddleware:
    """Gives each request its id and logs who asked what, the outcome and how long it took."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["headers"] = combined(scope["headers"])
        fate = fate_of(scope)
        request_id = fate.request_id
        _request_id.set(request_id)
        fields: dict[str, str] = {}
        state = scope["state"]
        state["fields"] = fields
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                headers = MutableHeaders(scope=message)
                headers[HEADER] = request_id
                headers.update(fields)
                add_security_fields(headers)
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            logger.info(
                "%s %s",
                scope["method"],
                raw_path(scope),
                extra={
                    "caller": _who(state.get("caller")),
                    "address": scope["client"][0] if scope.get("client") else None,
                    "status": fate.refused_with or status,
                    "milliseconds": round(1000 * (time.perf_counter() - started), 1),
                },
            )
            structlog.contextvars.clear_contextvars()


def combined(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The header with the lines of each name as one, separated by commas (RFC 9110, section 5.3).

    Whoever reads one value would else take one line and overlook the others; what has to be single is no
    valid value with a comma.
    """
    lines: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        lines.setdefault(name, []).append(value)
    return headers if len(lines) == len(headers) else [(name, b", ".join(lines[name])) for name in lines]


def _who(caller: Caller | None) -> str | None:
    """The caller as a log names it: a key by its name and its id."""
    if caller is None:
        return None
    return caller.name if caller.key_id is None else f"{caller.name} ({caller.key_id})"


def add_security_fields(headers: MutableHeaders) -> None:
    """Tell a browser to guess nothing, to frame nothing, to keep nothing without asking."""
    is_page = headers.get("content-type", "").startswith("text/html")
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Frame-Options"] = "DENY"
    headers["Referrer-Policy"] = "no-referrer"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["Content-Security-Policy"] = _PAGE_POLICY if is_page else _DATA_POLICY
    headers.setdefault("Cache-Control", "private, no-cache")


_DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"
# The documentation starts itself from a script in its page; all that it loads is served from here.
_PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; worker-src blob:; frame-ancestors 'none'"
)
