"""The state machine: five statuses, and the one table of moves between them."""

from enum import StrEnum
from types import MappingProxyType


class OrderStatus(StrEnum):
    """Where an order stands."""

    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    SHIPPED = "SHIPPED"
    DELIVERED = "DELIVERED"
    CANCELLED = "CANCELLED"

    @property
    def is_terminal(self) -> bool:
        """Whether an order with this status can never move again."""
        return not TRANSITIONS[self]


TRANSITIONS = MappingProxyType(
    {
        OrderStatus.PENDING: (OrderStatus.PROCESSING, OrderStatus.CANCELLED),
        OrderStatus.PROCESSING: (OrderStatus.SHIPPED,),
        OrderStatus.SHIPPED: (OrderStatus.DELIVERED,),
        OrderStatus.DELIVERED: (),
        OrderStatus.CANCELLED: (),
    }
)
"""Every status that an order may move to, by the status that it has."""
