"""One id for each request: taken from the caller or made, shown in the answer and in every log line."""

import logging
import re
import time
from contextvars import ContextVar
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Request-ID"
_ACCEPTABLE = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_request_id: ContextVar[str] = ContextVar("request_id", default="none")

logger = logging.getLogger("api.access")


def current_request_id() -> str:
    """The id of the request that is being answered."""
    return _request_id.get()


class RequestIdMiddleware:
    """Gives each request its id and logs who asked what, the outcome and how long it took."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if _ACCEPTABLE.fullmatch(given) else str(uuid4())
        _request_id.set(request_id)
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            logger.info(
                "%s %s",
                scope["method"],
                scope["raw_path"].decode("ascii", "backslashreplace"),
                extra={"status": status, "milliseconds": round(1000 * (time.perf_counter() - started), 1)},
            )
            structlog.contextvars.clear_contextvars()
