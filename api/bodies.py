"""Reading a JSON body strictly, before any schema looks at it."""

import json
from collections.abc import Callable, Coroutine
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute

from api.problems import MalformedBody

_LONGEST_INTEGER = 40


class _StrictRequest(Request):
    """A request whose numbers are exact, whose keys are unique and whose text is UTF-8."""

    async def json(self) -> Any:  # noqa: ANN401 - any JSON value
        """The body's value; a number with a fraction is a Decimal, never a float.

        Raises:
            MalformedBody: it is not JSON.
        """
        try:
            return json.loads(
                (await self.body()).decode("utf-8"),
                parse_int=_short_integer,
                parse_float=_exact_number,
                parse_constant=_refuse_constant,
                object_pairs_hook=_unique_keys,
            )
        except RecursionError:
            raise MalformedBody("The body is nested too deeply") from None
        except UnicodeDecodeError:
            raise MalformedBody("The body is not UTF-8") from None
        except json.JSONDecodeError as error:
            raise MalformedBody(
                f"The body is not JSON: {error.msg} at line {error.lineno} column {error.colno}"
            ) from None
        except ValueError as error:
            raise MalformedBody(f"The body is not JSON: {error}") from None


def _short_integer(digits: str) -> int:
    if len(digits) > _LONGEST_INTEGER:
        raise ValueError("an integer has too many digits")
    return int(digits)


def _exact_number(digits: str) -> Decimal:
    try:
        return Decimal(digits)
    except InvalidOperation:
        raise ValueError("a number is out of range") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("an object has the same key twice")
    return unique


class StrictRoute(APIRoute):
    """A route that reads its body strictly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler that FastAPI calls."""
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            return await handle(_StrictRequest(request.scope, request.receive))

        return handle_strictly
