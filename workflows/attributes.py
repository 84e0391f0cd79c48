"""The search attributes by which orders are found in the Temporal Web UI."""

from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from orders.names import CUSTOMER_ATTRIBUTE, STATUS_ATTRIBUTE
from orders.status import OrderStatus

STATUS = SearchAttributeKey.for_keyword(STATUS_ATTRIBUTE)
CUSTOMER = SearchAttributeKey.for_keyword(CUSTOMER_ATTRIBUTE)


def attributes_of(customer_id: str, status: OrderStatus) -> TypedSearchAttributes:
    """What an order's workflow is started with."""
    return TypedSearchAttributes(
        [SearchAttributePair(CUSTOMER, customer_id), SearchAttributePair(STATUS, status.value)]
    )
