from itertools import product

import pytest

from orders.status import TRANSITIONS, OrderStatus

ARROWS = {
    ("PENDING", "PROCESSING"),
    ("PENDING", "CANCELLED"),
    ("PROCESSING", "SHIPPED"),
    ("SHIPPED", "DELIVERED"),
}


def test_there_are_five_statuses() -> None:
    assert list(OrderStatus) == ["PENDING", "PROCESSING", "SHIPPED", "DELIVERED", "CANCELLED"]


@pytest.mark.parametrize(("start", "end"), list(product(OrderStatus, OrderStatus)))
def test_the_table_has_the_arrows_of_the_diagram_and_no_other(start: OrderStatus, end: OrderStatus) -> None:
    assert ((start, end) in ARROWS) is (end in TRANSITIONS[start])


def test_only_delivered_and_cancelled_orders_are_at_their_end() -> None:
    assert [status for status in OrderStatus if status.is_terminal] == ["DELIVERED", "CANCELLED"]


def test_nobody_can_add_an_arrow_at_run_time() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[OrderStatus.DELIVERED] = (OrderStatus.PENDING,)  # type: ignore[index]
