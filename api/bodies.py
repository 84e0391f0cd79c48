"""Reading a JSON body strictly, before any schema looks at it."""

import json
import re
from collections.abc import AsyncGenerator
from decimal import Decimal, InvalidOperation
from http import HTTPStatus
from typing import Any, NoReturn

from fastapi import Request
from starlette.exceptions import HTTPException

from api.limits import BodyShare

MAX_BODY_BYTES = 1024 * 1024
"""The largest order that `orders.limits` allows fits in."""

_JSON = re.compile(r'application/([a-z0-9.-]+\+)?json(\s*;\s*charset="?utf-8"?)?', re.IGNORECASE)
_LONGEST_INTEGER = 40


# `HTTPException`s all three, because FastAPI makes its own of every other that reading a body raises.
class MalformedBody(HTTPException):
    """A body that is not the JSON that it claims to be."""

    def __init__(self, detail: str) -> None:
        super().__init__(HTTPStatus.BAD_REQUEST, detail)


class BodyTooLarge(HTTPException):
    """A body with more bytes than any order needs."""

    def __init__(self) -> None:
        super().__init__(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The body has more than {MAX_BODY_BYTES} bytes",
            # What is still to come of it is not worth reading.
            headers={"Connection": "close"},
        )


class UnsupportedBody(HTTPException):
    """A body in a form that we do not read."""

    def __init__(self, detail: str, headers: dict[str, str]) -> None:
        super().__init__(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail, headers | {"Connection": "close"})


class StrictRequest(Request):
    """A request of bounded size, whose numbers are exact, whose keys are unique and whose text is UTF-8."""

    def __init__(self, request: Request, share: BodyShare) -> None:
        super().__init__(request.scope, request.receive)
        self._share = share

    async def read(self) -> None:
        """Read the whole body, for `json` to understand.

        Raises:
            UnsupportedBody: it is compressed, or is not JSON by its type.
            BodyTooLarge: it has more than `MAX_BODY_BYTES`.
            Overloaded: with the bodies that others are sending, it is too much.
        """
        if self.headers.get("content-encoding", "identity").lower() != "identity":
            raise UnsupportedBody("The body must not be compressed", {"Accept-Encoding": "identity"})
        if not _JSON.fullmatch(self.headers.get("content-type", "").strip()):
            raise UnsupportedBody("Content-Type must be application/json", {"Accept": "application/json"})
        await self.body()

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The body as it arrives, as far as it may go."""
        declared = self.headers.get("content-length", "")
        if declared.isdecimal() and len(declared) < _LONGEST_INTEGER and int(declared) > MAX_BODY_BYTES:
            raise BodyTooLarge
        size = 0
        async for chunk in super().stream():
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                raise BodyTooLarge
            self._share.hold(size)
            yield chunk

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
