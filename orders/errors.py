"""Why the domain refuses.

OrderError
├── InvalidValue          a value has no meaning
│   └── LimitExceeded     a value has a meaning, and is more than the shop takes
├── CommandRefused        the order exists and does not do what was asked
│   ├── InvalidTransition the state machine has no such move
│   ├── VersionMismatch   the order has moved since the caller looked
│   └── CommandIdReused   another command already carried this id
└── OrderNotFound         there is no such order
"""

from orders.commands import NO_VERSION
from orders.status import TRANSITIONS, OrderStatus


class OrderError(Exception):
    """Anything that the domain refuses. `str()` of it is written for the person who asked."""


class InvalidValue(OrderError):  # noqa: N818 - the name is the fact
    """A value that has no meaning for an order. `place` is the path to it (`items.0.quantity`)."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(place, reason)
        self.place = place
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


class LimitExceeded(InvalidValue):
    """A well-formed order that is larger than the shop takes: a business rule, not a mistake of form."""


class CommandRefused(OrderError):  # noqa: N818 - the name is the fact
    """A command that the order does not carry out. It changed nothing."""


class InvalidTransition(CommandRefused):
    """The state machine has no such move from the status that the order has."""

    def __init__(self, current: str, requested: str) -> None:
        super().__init__(str(current), str(requested))
        self.current = OrderStatus(current)
        self.requested = OrderStatus(requested)

    @property
    def allowed(self) -> tuple[OrderStatus, ...]:
        """Every status that the order may move to instead."""
        return TRANSITIONS[self.current]

    def __str__(self) -> str:
        if self.requested is OrderStatus.CANCELLED:
            return f"Cannot cancel order with status {self.current}"
        return f"Invalid status transition from {self.current} to {self.requested}"


class VersionMismatch(CommandRefused):
    """The order has another version than the one that the caller expects to change."""

    def __init__(self, expected: int, current: int) -> None:
        super().__init__(expected, current)
        self.expected = expected
        self.current = current

    def __str__(self) -> str:
        if self.expected == NO_VERSION:
            return f"Order has version {self.current}, and no version matches what is asked for"
        return f"Order has version {self.current}, not {self.expected}"


class CommandIdReused(CommandRefused):
    """The id already belongs to another command, so the two cannot be told apart."""

    def __init__(self, command_id: str) -> None:
        super().__init__(command_id)
        self.command_id = command_id

    def __str__(self) -> str:
        return f"Command id {self.command_id} was already used for another command"


class OrderNotFound(OrderError):  # noqa: N818 - the name is the fact
    """There is no order with this id."""

    def __init__(self, order_id: str) -> None:
        super().__init__(str(order_id))
        self.order_id = str(order_id)

    def __str__(self) -> str:
        return f"Order {self.order_id} not found"
