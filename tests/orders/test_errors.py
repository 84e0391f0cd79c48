import json
from collections.abc import Iterator

import pytest

from orders.errors import (
    CommandIdReused,
    CommandRefused,
    InvalidTransition,
    InvalidValue,
    LimitExceeded,
    OrderError,
    OrderNotFound,
    VersionMismatch,
)
from orders.status import OrderStatus

MESSAGES = {
    "items.0.quantity: must be at least 1": InvalidValue("items.0.quantity", "must be at least 1"),
    "items: must have at most 500 items": LimitExceeded("items", "must have at most 500 items"),
    "Invalid status transition from PENDING to DELIVERED": InvalidTransition("PENDING", "DELIVERED"),
    "Cannot cancel order with status PROCESSING": InvalidTransition(
        OrderStatus.PROCESSING, OrderStatus.CANCELLED
    ),
    "Order has version 3, not 2": VersionMismatch(2, 3),
    "Command id abc was already used for another command": CommandIdReused("abc"),
    "Order 018f not found": OrderNotFound("018f"),
}
every_error = pytest.mark.parametrize(("message", "error"), MESSAGES.items())


def every_kind(base: type[OrderError] = OrderError) -> Iterator[type[OrderError]]:
    for kind in base.__subclasses__():
        yield kind
        yield from every_kind(kind)


def test_no_kind_of_error_is_missing_here() -> None:
    assert set(every_kind()) == {CommandRefused} | {type(error) for error in MESSAGES.values()}


@every_error
def test_an_error_says_what_a_person_needs(message: str, error: OrderError) -> None:
    assert message == str(error)


@every_error
def test_an_error_is_rebuilt_from_its_arguments(message: str, error: OrderError) -> None:
    arguments = json.loads(json.dumps(error.args))

    rebuilt = type(error)(*arguments)

    assert (message, vars(error)) == (str(rebuilt), vars(rebuilt))


def test_a_refused_move_says_which_moves_are_open() -> None:
    assert InvalidTransition("PENDING", "DELIVERED").allowed == ("PROCESSING", "CANCELLED")


def test_a_limit_is_a_kind_of_invalid_value_and_no_refusal() -> None:
    assert issubclass(LimitExceeded, InvalidValue)
    assert not issubclass(InvalidValue, CommandRefused)
