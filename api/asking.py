"""How a write is asked for, beyond its body: by whom, under which key, of which version, and what for."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID, uuid4

from fastapi import Depends, Header, Query
from fastapi.exceptions import RequestValidationError
from uuid_utils.compat import uuid7

from api.guard import Called
from api.keys import ANONYMOUS, Caller
from api.request_id import current_request_id
from api.schemas import NewOrderBody
from orders.commands import NO_VERSION, ChangeStatus, PlaceOrder
from orders.names import idempotent_command_id, idempotent_order_id
from orders.status import OrderStatus

# An entity tag (RFC 9110, 8.8.3); the group is the version in one that an order may have.
_TAG = re.compile(r'(?:W/"[^"]*"|"(?:([1-9][0-9]{0,8})"|[^"]*"))')


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """A client's wish, as the headers and the query tell it; with the body it becomes a command.

    `key` makes a retry safe, `wait` is false where 202 is wanted at once, and a `dry_run` changes nothing.
    """

    caller: Caller
    key: str | None
    wait: bool
    dry_run: bool

    def to_place(self, body: NewOrderBody) -> PlaceOrder:
        """The command to place an order."""
        return body.command(
            order_id=uuid7() if self.key is None else idempotent_order_id(self.caller.name, self.key),
            placed_by=self.caller.name,
            request_id=current_request_id(),
        )

    def to_change(
        self,
        order_id: UUID,
        status: OrderStatus,
        expected_version: int | None,
        named: str | None = None,
        reason: str | None = None,
    ) -> ChangeStatus:
        """The command to change an order.

        Who asks is known by the API key; whom they name stands beside it.
        """
        is_known = self.caller is not ANONYMOUS
        return ChangeStatus(
            command_id=self._command_id(order_id),
            status=status,
            changed_by=self.caller.name if is_known else named or self.caller.name,
            on_behalf_of=named if is_known else None,
            reason=reason,
            expected_version=expected_version,
            request_id=current_request_id(),
            sent_at=datetime.now(UTC),
        )

    def _command_id(self, order_id: UUID) -> str:
        if self.key is None:
            return str(uuid4())
        return idempotent_command_id(order_id, self.caller.name, self.key)


async def _asking(
    caller: Called,
    key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            min_length=1,
            max_length=255,
            pattern="^[!-~]+$",
            description="Makes a retry safe: the same key and body are carried out once. A key counts for "
            "one caller and one order, and for placing orders apart.",
        ),
    ] = None,
    prefer: Annotated[
        list[str],
        Header(description="`respond-async` asks for 202 at once instead of the outcome (RFC 7240)."),
    ] = [],  # noqa: B006 - FastAPI copies it
    dry_run: Annotated[  # noqa: FBT002 - FastAPI passes it by name
        bool, Query(description="Answer 200 with what would happen, and change nothing.")
    ] = False,
) -> Asking:
    preferences = {preference.strip().lower() for line in prefer for preference in line.split(",")}
    return Asking(caller=caller, key=key, wait="respond-async" not in preferences, dry_run=dry_run)


async def _expected_version(
    if_match: Annotated[
        list[str],
        Header(
            alias="If-Match",
            description="The `ETag` of the version to change; else 412. Two versions in one list are 422.",
        ),
    ] = [],  # noqa: B006 - FastAPI copies it
) -> int | None:
    """The version that a client wants to change; one that no order has where no tag is one of ours.

    A signal carries one version, so that two are a question that the order could not be asked.
    """
    given = ",".join(if_match).strip()
    if not if_match or given == "*":
        return None
    versions = {int(tag[1]) for tag in _TAG.finditer(given) if tag[1]}
    if len(versions) > 1:
        mistake = {
            "type": "header",
            "loc": ("header", "If-Match"),
            "msg": "must name one version of the order",
        }
        raise RequestValidationError([mistake])
    return versions.pop() if versions else NO_VERSION


Asked = Annotated[Asking, Depends(_asking)]
ExpectedVersion = Annotated[int | None, Depends(_expected_version)]
