"""Names that several processes must agree on: ids, queues, the schedule, search attributes."""

from types import MappingProxyType
from typing import Final
from uuid import UUID, uuid5

ORDERS_QUEUE: Final = "orders"
PROMOTION_QUEUE: Final = "promotion"

PROMOTION_SCHEDULE_ID: Final = "order-promotion"
PROMOTION_WORKFLOW_ID: Final = "order-promotion"

CHECKUP_SCHEDULE_ID: Final = "order-checkup"
CHECKUP_WORKFLOW_ID: Final = "order-checkup"

UPDATE_STATUS_SIGNAL: Final = "update_status"

STATUS_ATTRIBUTE: Final = "OrderStatus"
CUSTOMER_ATTRIBUTE: Final = "CustomerId"
SEARCH_ATTRIBUTES = MappingProxyType({STATUS_ATTRIBUTE: "Keyword", CUSTOMER_ATTRIBUTE: "Keyword"})
"""Type of each search attribute by name; they must be registered before the first order starts."""

_WORKFLOW_PREFIX = "order-"
# A namespace of our own for ids that are derived from names. It can never change.
_IDEMPOTENCY = UUID("7d1a4c52-3f0e-4b0b-9a53-5c8f6f0f2a11")


def workflow_id(order_id: UUID) -> str:
    """The id of the workflow that owns the order."""
    return f"{_WORKFLOW_PREFIX}{order_id}"


def order_id_of(workflow_id: str) -> UUID | None:
    """The id of the order that a workflow owns; None where the workflow's id is no order's."""
    try:
        order_id = UUID(workflow_id.removeprefix(_WORKFLOW_PREFIX))
    except ValueError:
        return None
    return order_id if workflow_id == f"{_WORKFLOW_PREFIX}{order_id}" else None


def idempotent_order_id(caller: str, key: str) -> UUID:
    """The id of the order that a caller places under an idempotency key: the same key, the same order."""
    return uuid5(_IDEMPOTENCY, f"{caller}\n{key}")


def idempotent_command_id(order_id: UUID, caller: str, key: str) -> str:
    """The id of the command that a caller gives an order under an idempotency key."""
    return str(uuid5(order_id, f"{caller}\n{key}"))


def promotion_command_id(order_id: UUID) -> str:
    """The one command id under which an order is ever promoted, whichever sweep asks and however often."""
    return str(uuid5(order_id, "promotion"))
