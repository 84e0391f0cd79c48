"""The one place that decides what may happen to an order.

    place   PlaceOrder              -> the order's record at version 1
    decide  record and ChangeStatus -> the StatusChange to apply, or the refusal
    apply   record and StatusChange -> the record one version on

All three are pure: the workflow calls them to decide, the API to answer for an order whose
workflow has ended, the tests to explore. Workflows replay `decide` years later: a change to what
it answers needs a patch in the workflow, and the committed histories in tests/ say when.
"""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from uuid import uuid5

from orders import limits
from orders.commands import ChangeStatus, NewLineItem, PlaceOrder
from orders.errors import (
    CommandIdReused,
    InvalidTransition,
    InvalidValue,
    LimitExceeded,
    VersionMismatch,
)
from orders.money import CURRENCY_DECIMALS, has_currency_decimals, quantize
from orders.order import LineItem, Order, OrderRecord, StatusChange
from orders.status import TRANSITIONS, OrderStatus
from orders.text import check_identifier, check_reason


def validate(command: PlaceOrder) -> None:
    """Judge an order at the door.

    Raises:
        InvalidValue: a value has no meaning (a quantity of 0, a price with too many decimals).
        LimitExceeded: the order is larger than `orders.limits` allows.
    """
    check_identifier("customer_id", command.customer_id)
    if command.currency not in CURRENCY_DECIMALS:
        raise InvalidValue("currency", "must be an ISO 4217 code such as USD")
    if not command.items:
        raise InvalidValue("items", "must have at least one item")
    for position, item in enumerate(command.items):
        _check_item(f"items.{position}", item, command.currency)
    _check_limits(command)


def _check_item(place: str, item: NewLineItem, currency: str) -> None:
    check_identifier(f"{place}.product_id", item.product_id)
    if item.quantity < 1:
        raise InvalidValue(f"{place}.quantity", "must be at least 1")
    if not item.unit_price.is_finite() or item.unit_price <= 0:
        raise InvalidValue(f"{place}.unit_price", "must be greater than 0")
    if not has_currency_decimals(item.unit_price, currency):
        decimals = CURRENCY_DECIMALS[currency]
        raise InvalidValue(f"{place}.unit_price", f"must have at most {decimals} decimals in {currency}")


def validate_change(command: ChangeStatus) -> None:
    """Judge what a command says, whatever the order that it is for.

    Raises:
        InvalidValue: a text in it could not be stored.
    """
    check_identifier("command_id", command.command_id)
    check_identifier("changed_by", command.changed_by)
    check_reason("reason", command.reason)
    if command.on_behalf_of is not None:
        check_identifier("on_behalf_of", command.on_behalf_of)
    if command.request_id is not None:
        check_identifier("request_id", command.request_id)


def _check_limits(command: PlaceOrder) -> None:
    if len(command.items) > limits.MAX_ITEMS:
        raise LimitExceeded("items", f"must have at most {limits.MAX_ITEMS} items")
    for position, item in enumerate(command.items):
        if item.quantity > limits.MAX_QUANTITY:
            raise LimitExceeded(f"items.{position}.quantity", f"must be at most {limits.MAX_QUANTITY}")
        if item.unit_price > limits.MAX_UNIT_PRICE:
            raise LimitExceeded(f"items.{position}.unit_price", f"must be at most {limits.MAX_UNIT_PRICE}")
    if total(command) > limits.MAX_TOTAL:
        raise LimitExceeded("total_amount", f"must be at most {limits.MAX_TOTAL} {command.currency}")


def total(command: PlaceOrder) -> Decimal:
    """What the order costs: the sum of quantity times unit price, with the currency's decimals."""
    amount = sum((item.quantity * item.unit_price for item in command.items), start=Decimal(0))
    return quantize(amount, command.currency)


def place(command: PlaceOrder, now: datetime) -> OrderRecord:
    """The record of a new order at version 1, PENDING, its total computed and its lines numbered.

    The command has passed `validate` at the door; it is not judged again here (see `orders.limits`).
    """
    order = Order(
        id=command.order_id,
        customer_id=command.customer_id,
        status=OrderStatus.PENDING,
        currency=command.currency,
        total_amount=total(command),
        items=tuple(
            LineItem(
                id=uuid5(command.order_id, f"item-{position}"),
                product_id=item.product_id,
                quantity=item.quantity,
                unit_price=quantize(item.unit_price, command.currency),
            )
            for position, item in enumerate(command.items)
        ),
        version=1,
        created_at=now,
        updated_at=now,
    )
    placed = StatusChange(
        version=1,
        old_status=None,
        new_status=OrderStatus.PENDING,
        changed_at=now,
        changed_by=command.placed_by,
        reason=None,
        command_id=str(command.order_id),
        request_id=command.request_id,
    )
    return OrderRecord(order=order, history=(placed,))


def check_same_order(record: OrderRecord, command: PlaceOrder) -> None:
    """Check that the command is the one that placed this order, and not another under the same id.

    Raises:
        CommandIdReused: it is another one.
    """
    placed = place(command, record.order.created_at)
    same = at(record, 1) == placed.order and record.history[0].changed_by == placed.history[0].changed_by
    if not same:
        raise CommandIdReused(str(command.order_id))


def decide(record: OrderRecord, command: ChangeStatus, now: datetime) -> StatusChange:
    """What the command does to the order: a new change, or the change that it already made.

    A change that is already in the record means that this command was carried out before; it is
    answered as it was the first time (`at` gives the order of then) and changes nothing.

    Raises:
        InvalidValue: a text in the command could not be stored.
        CommandIdReused: the id was used for a different command.
        VersionMismatch: `expected_version` is not the order's version.
        InvalidTransition: the state machine has no such move.
    """
    validate_change(command)
    if done := find(record, command):
        return done
    order = record.order
    if command.expected_version not in {None, order.version}:
        raise VersionMismatch(command.expected_version or 0, order.version)
    if command.status not in TRANSITIONS[order.status]:
        raise InvalidTransition(order.status, command.status)
    return StatusChange(
        version=order.version + 1,
        old_status=order.status,
        new_status=command.status,
        # Neither a clock that steps back nor one that is ahead of the others makes the history do so.
        changed_at=max(min(command.sent_at or now, now), order.updated_at),
        changed_by=command.changed_by,
        reason=command.reason,
        command_id=command.command_id,
        on_behalf_of=command.on_behalf_of,
        request_id=command.request_id,
    )


def find(record: OrderRecord, command: ChangeStatus) -> StatusChange | None:
    """The change that the command made, or None where it has made none.

    Raises:
        CommandIdReused: the id was used for a different command.
    """
    for change in record.history:
        if change.command_id == command.command_id:
            if not _is_same_command(change, command):
                raise CommandIdReused(command.command_id)
            return change
    return None


def _is_same_command(change: StatusChange, command: ChangeStatus) -> bool:
    return (
        change.new_status is command.status
        and change.changed_by == command.changed_by
        and change.on_behalf_of == command.on_behalf_of
        and change.reason == command.reason
    )


def apply(record: OrderRecord, change: StatusChange) -> OrderRecord:
    """The record after the change; the same record where it already holds that change."""
    if change in record.history:
        return record
    order = replace(
        record.order, status=change.new_status, version=change.version, updated_at=change.changed_at
    )
    return OrderRecord(order=order, history=(*record.history, change))


def at(record: OrderRecord, version: int) -> Order:
    """The order as it was at an earlier version.

    Raises:
        KeyError: the order never had that version.
    """
    for change in record.history:
        if change.version == version:
            return replace(
                record.order, status=change.new_status, version=version, updated_at=change.changed_at
            )
    raise KeyError(version)
