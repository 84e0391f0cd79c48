from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.names import order_id_of, promotion_command_id, workflow_id

ORDER = UUID("0198f2a4-0000-7000-8000-000000000001")


def test_an_orders_workflow_is_found_by_the_orders_id() -> None:
    assert workflow_id(ORDER) == "order-0198f2a4-0000-7000-8000-000000000001"


@given(st.uuids())
def test_an_order_is_found_by_the_id_of_its_workflow(order_id: UUID) -> None:
    assert order_id_of(workflow_id(order_id)) == order_id


@pytest.mark.parametrize(
    "other",
    ["order-promotion", "order-", str(ORDER), f"order-{ORDER.hex}", f"order-{{{ORDER}}}", f"other-{ORDER}"],
)
def test_other_workflows_own_no_order(other: str) -> None:
    assert order_id_of(other) is None


def test_an_order_has_one_promotion_for_ever() -> None:
    # Written out, because running orders remember it: another one would promote them a second time.
    assert promotion_command_id(ORDER) == "96d27756-2cef-5a54-a581-4625aecb9588"


@given(st.lists(st.uuids(), min_size=2, max_size=2, unique=True))
def test_two_orders_never_share_a_promotion(two: list[UUID]) -> None:
    assert len({promotion_command_id(order_id) for order_id in two}) == 2
