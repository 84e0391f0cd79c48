"""What every call on orders passes before it is carried out, in this order.

    who calls         401, 403, 421   api.keys
    how often         429             api.limits
    what is sent      413, 415, 503   api.bodies, after api.protocol has bounded how slowly (408)
    how much at once  503             api.limits

The cheapest question comes first, and a client that sends its body slowly holds no place that a quicker
one could use.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, Self

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from sqlalchemy.ext.asyncio import AsyncEngine

from api.bodies import StrictRequest
from api.keys import Caller, KeyRing, Misdirected, Scope, Unauthenticated
from api.limits import BodyRoom, Capacity, RequestLimit, TooMany, address_group
from api.parameters import QueryParameters
from database.engine import DatabaseUnavailable
from settings import Settings

SECURITY_SCHEME = "apiKey"


class Forbidden(Exception):  # noqa: N818 - the name is the fact
    """The caller's key does not allow this."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"The API key lacks the scope {scope}")
        self.scope = scope


@dataclass(frozen=True, slots=True)
class Guard:
    """The guards of one process."""

    keys: KeyRing
    requests: RequestLimit
    bodies: BodyRoom
    capacity: Capacity

    @classmethod
    def of(cls, settings: Settings, engine: AsyncEngine) -> Self:
        """The guards as the settings say."""
        return cls(
            keys=KeyRing(settings, engine),
            requests=RequestLimit(settings),
            bodies=BodyRoom(),
            capacity=Capacity(settings.api_concurrency),
        )

    async def admit(self, request: Request, scope: str) -> None:
        """Let a request pass, and note in its state who makes it.

        Raises:
            Unauthenticated, Misdirected, DatabaseUnavailable: see `KeyRing.identify`.
            TooMany: the caller has made too many.
            Forbidden: the caller's key lacks the scope.
        """
        client = request.client.host if request.client else ""
        address = address_group(client)
        try:
            headers = request.headers
            caller = self.keys.identify(headers.get("authorization"), headers.get("host", ""), client)
        except (Unauthenticated, Misdirected, DatabaseUnavailable):
            # Counted as well: guessing keys is limited like everything else.
            await self._count(request, address)
            raise
        request.state.caller = caller
        request.state.counted_as = caller.key_id or address
        await self._count(request, request.state.counted_as)
        if scope not in caller.scopes:
            raise Forbidden(scope)

    async def _count(self, request: Request, who: str) -> None:
        is_within, fields = await self.requests.count(who)
        request.state.fields.update(fields)
        if not is_within:
            raise TooMany("Too many requests", fields)


class GuardedRoute(APIRoute):
    """A route behind the guards; the scope that it documents (see `needs`) is the scope that it demands."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler that FastAPI calls."""
        handle = super().get_route_handler()
        scope = (self.openapi_extra or {})["security"][-1][SECURITY_SCHEME][0]
        query = QueryParameters(self.dependant)

        async def handle_guarded(request: Request) -> Response:
            guard: Guard = request.app.state.guard
            await guard.admit(request, scope)
            query.check(request)
            with guard.bodies.share() as share:
                request = StrictRequest(request, share)
                if self.body_field is not None:
                    await request.read()
                with guard.capacity.taken():
                    return await handle(request)

        return handle_guarded


def needs(scope: Scope) -> dict[str, Any]:
    """The options of a route that takes a key with this scope, or none where there are no keys."""
    return {"openapi_extra": {"security": [{}, {SECURITY_SCHEME: [scope.value]}]}}


async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


Called = Annotated[Caller, Depends(_caller)]
