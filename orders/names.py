"""Names that several processes must agree on: ids, queues, the schedule, search attributes."""

from types import MappingProxyType
from typing import Final
from uuid import UUID, uuid5

ORDERS_QUEUE: Final = "orders"
PROMOTION_QUEUE: Final = "promotion"

PROMOTION_SCHEDULE_ID: Final = "order-promotion"
PROMOTION_WORKFLOW_ID: Final = "order-promotion"

ORDER_WORKFLOW: Final = "OrderWorkflow"
UPDATE_STATUS_SIGNAL: Final = "update_status"

STATUS_ATTRIBUTE: Final = "OrderStatus"
CUSTOMER_ATTRIBUTE: Final = "CustomerId"
SEARCH_ATTRIBUTES = MappingProxyType({STATUS_ATTRIBUTE: "Keyword", CUSTOMER_ATTRIBUTE: "Keyword"})
"""Type of each search attribute by name; they must be registered before the first order starts."""

_WORKFLOW_PREFIX = "order-"


def workflow_id(order_id: UUID) -> str:
    """The id of the workflow that owns the order."""
    return f"{_WORKFLOW_PREFIX}{order_id}"


def promotion_command_id(order_id: UUID) -> str:
    """The one command id under which an order is ever promoted, whichever sweep asks and however often."""
    return str(uuid5(order_id, "promotion"))
