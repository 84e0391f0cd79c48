import asyncio
from uuid import UUID

import pytest

from doctor.findings import Kind
from orders.status import OrderStatus
from tests.doctor.conftest import LONG_PAUSES, Ward

PENDING, PROCESSING, SHIPPED, DELIVERED, CANCELLED = OrderStatus

EVERYTHING = (
    "DELETE FROM order_status_history WHERE order_id = :id",
    "DELETE FROM order_items WHERE order_id = :id",
    "DELETE FROM orders WHERE id = :id",
)
BACK = (
    "UPDATE orders SET status = 'PROCESSING', version = 2, updated_at = created_at WHERE id = :id",
    "DELETE FROM order_status_history WHERE order_id = :id AND version > 2",
)
EXTRA_CHANGE = (
    "INSERT INTO order_status_history"
    " (id, order_id, version, old_status, new_status, changed_at, changed_by, command_id)"
    " VALUES (gen_random_uuid(), :id, 4, 'SHIPPED', 'DELIVERED', now(), 'a hand', 'by hand')"
)

# What a hand can do to the rows of an order that is SHIPPED, and what it is called then.
HARMS: dict[str, tuple[Kind, tuple[str, ...]]] = {
    "the order is gone": (Kind.MISSING, EVERYTHING),
    "its last change is gone, as after a failover": (Kind.STALE, BACK),
    "its version was set back": (Kind.STALE, ("UPDATE orders SET version = 1 WHERE id = :id",)),
    "its version was set forward": (Kind.AHEAD, ("UPDATE orders SET version = 9 WHERE id = :id",)),
    "it was delivered by hand": (
        Kind.AHEAD,
        (
            "UPDATE orders SET status = 'DELIVERED', version = 4, updated_at = now() WHERE id = :id",
            EXTRA_CHANGE,
        ),
    ),
    "its status was changed": (
        Kind.DIFFERENT,
        ("UPDATE orders SET status = 'DELIVERED' WHERE id = :id",),
    ),
    "its total was changed": (
        Kind.DIFFERENT,
        ("UPDATE orders SET total_amount = total_amount + 1 WHERE id = :id",),
    ),
    "its customer was changed": (
        Kind.DIFFERENT,
        ("UPDATE orders SET customer_id = 'another' WHERE id = :id",),
    ),
    "its time was changed": (
        Kind.DIFFERENT,
        ("UPDATE orders SET updated_at = now() WHERE id = :id",),
    ),
    "it was placed earlier": (
        Kind.DIFFERENT,
        ("UPDATE orders SET created_at = created_at - interval '1 day' WHERE id = :id",),
    ),
    "an item is gone": (Kind.DIFFERENT, ("DELETE FROM order_items WHERE order_id = :id AND position = 0",)),
    "all items are gone": (Kind.DIFFERENT, ("DELETE FROM order_items WHERE order_id = :id",)),
    "all items and the total are gone": (
        Kind.DIFFERENT,
        (
            "DELETE FROM order_items WHERE order_id = :id",
            "UPDATE orders SET total_amount = 0 WHERE id = :id",
        ),
    ),
    "there is another item": (
        Kind.DIFFERENT,
        ("INSERT INTO order_items VALUES (gen_random_uuid(), :id, 2, 'gift', 1, 0.01)",),
    ),
    "an item costs less": (
        Kind.DIFFERENT,
        ("UPDATE order_items SET unit_price = 0.01 WHERE order_id = :id AND position = 0",),
    ),
    "all history is gone": (Kind.DIFFERENT, ("DELETE FROM order_status_history WHERE order_id = :id",)),
    "the middle of the history is gone": (
        Kind.DIFFERENT,
        ("DELETE FROM order_status_history WHERE order_id = :id AND version = 2",),
    ),
    "the history has a change more": (Kind.DIFFERENT, (EXTRA_CHANGE,)),
    "the history says another status": (
        Kind.DIFFERENT,
        ("UPDATE order_status_history SET new_status = 'CANCELLED' WHERE order_id = :id AND version = 2",),
    ),
}
# What fits together all the same, so that only a workflow that is asked tells it.
DEEP_HARMS: dict[str, tuple[Kind, tuple[str, ...]]] = {
    "an item is another product": (
        Kind.DIFFERENT,
        ("UPDATE order_items SET product_id = 'brick' WHERE order_id = :id AND position = 0",),
    ),
    "it is in another currency": (Kind.DIFFERENT, ("UPDATE orders SET currency = 'EUR' WHERE id = :id",)),
    "somebody else has changed it": (
        Kind.DIFFERENT,
        ("UPDATE order_status_history SET changed_by = 'nobody' WHERE order_id = :id AND version = 2",),
    ),
    "a change has another reason": (
        Kind.DIFFERENT,
        ("UPDATE order_status_history SET reason = 'none' WHERE order_id = :id AND version = 3",),
    ),
}


async def harmed(ward: Ward, harms: dict[str, tuple[Kind, tuple[str, ...]]]) -> dict[UUID, str]:
    """An order for each harm, which was done to it; and one that nothing was done to."""
    placed = await asyncio.gather(*(ward.place(PROCESSING, SHIPPED) for _ in harms), ward.place(PROCESSING))
    orders = dict(zip(placed, harms, strict=False))
    for order_id, harm in orders.items():
        await ward.until_listed(order_id)  # Else it is looked at closely for that alone.
        await ward.harm(order_id, *harms[harm][1])
    return orders


async def test_where_all_is_well_nothing_is_found(ward: Ward) -> None:
    for moves in [(), (PROCESSING,), (CANCELLED,), (PROCESSING, SHIPPED, DELIVERED)]:
        await ward.place(*moves)

    examination = await ward.examine(deep=True)

    assert examination.findings == ()
    assert min(examination.workflows, examination.rows) >= 4


async def test_whatever_a_hand_does_to_an_order_is_found_and_mended(ward: Ward) -> None:
    orders = await harmed(ward, HARMS)

    found = await ward.kinds()
    repair = await ward.examine(repair=True)

    assert {orders[it]: kinds for it, kinds in found.items()} == {
        harm: [kind] for harm, (kind, _) in HARMS.items()
    }
    assert {finding.order_id for finding in repair.findings if finding.mended} == orders.keys()
    assert repair.left == ()
    for order_id in orders:
        assert await ward.stored(order_id) == await ward.truth(order_id)
    assert await ward.kinds(deep=True) == {}


async def test_what_fits_together_and_is_wrong_is_found_by_asking_every_workflow(ward: Ward) -> None:
    orders = await harmed(ward, DEEP_HARMS)

    shallow = await ward.kinds()
    found = await ward.kinds(deep=True)
    repair = await ward.examine(deep=True, repair=True)

    assert shallow == {}
    assert {orders[it]: kinds for it, kinds in found.items()} == {
        harm: [kind] for harm, (kind, _) in DEEP_HARMS.items()
    }
    assert repair.left == ()
    assert await ward.kinds(deep=True) == {}


async def test_a_mended_order_goes_on(ward: Ward) -> None:
    order_id = await ward.place(PROCESSING)
    await ward.harm(order_id, "UPDATE orders SET version = 9, status = 'DELIVERED' WHERE id = :id")

    await ward.examine(repair=True)
    await ward.system.handle(order_id).signal("update_status", {"status": "SHIPPED"})
    await ward.until_projected(order_id)

    stored = await ward.stored(order_id)
    assert stored
    assert [change.new_status for change in stored.history] == [PENDING, PROCESSING, SHIPPED]
    assert (await ward.system.handle(order_id).query("order"))["rejections"] == []


@pytest.mark.parametrize("statements", [EVERYTHING, BACK, ("UPDATE orders SET version = 9 WHERE id = :id",)])
async def test_an_order_that_is_over_is_mended_from_its_finished_workflow(
    ward: Ward, statements: tuple[str, ...]
) -> None:
    order_id = await ward.place(PROCESSING, SHIPPED, DELIVERED)
    await ward.system.handle(order_id).result()
    await ward.harm(order_id, *statements)

    repair = await ward.examine(repair=True)

    assert [finding.mended for finding in repair.findings] == [True]
    assert await ward.stored(order_id) == await ward.truth(order_id)


async def test_an_item_that_was_given_to_another_order_comes_back(ward: Ward) -> None:
    robbed, other = await ward.place(), await ward.place()
    await ward.harm(
        robbed,
        "UPDATE order_items SET order_id = :other, position = 2 WHERE order_id = :id AND position = 1",
        other=other,
    )

    await ward.examine(repair=True)

    for order_id in (robbed, other):
        assert await ward.stored(order_id) == await ward.truth(order_id)


async def test_without_repair_nothing_is_changed(ward: Ward) -> None:
    order_id = await ward.place(PROCESSING)
    await ward.harm(order_id, "UPDATE orders SET version = 9 WHERE id = :id")
    before = await ward.stored(order_id)

    await ward.examine()

    assert await ward.stored(order_id) == before


async def test_orders_that_move_all_the_time_are_no_findings(ward: Ward) -> None:
    """Live traffic: what is on its way to PostgreSQL is not wrong."""
    examining = True

    async def traffic() -> int:
        number = 0
        while examining:
            await ward.place(PROCESSING, SHIPPED, DELIVERED)
            number += 1
            # A deep look asks every order: at full speed there would be more of them than it can ask.
            await asyncio.sleep(0.1)
        return number

    living = [asyncio.create_task(traffic()) for _ in range(4)]
    try:
        found = [await ward.kinds(deep=deep, pauses=LONG_PAUSES) for deep in (False, True, True)]
    finally:
        examining = False
        numbers = await asyncio.gather(*living)

    assert found == [{}, {}, {}]
    assert min(numbers) > 0


class UntilLookedAt:
    """Says when the first look at what seemed wrong is done."""

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self._stage = ""

    def begin(self, stage: str, total: int) -> None:  # noqa: ARG002 - the protocol's
        self._stage = stage

    def advance(self, orders: int) -> None:  # noqa: ARG002 - the protocol's
        if self._stage == "suspects":
            self.done.set()


async def test_what_is_on_its_way_to_postgresql_is_looked_at_again_and_no_finding(ward: Ward) -> None:
    order_id = await ward.place()
    progress = UntilLookedAt()
    async with ward.system.engine.connect() as connection:
        await connection.execution_options(isolation_level="READ COMMITTED")
        transaction = await connection.begin()
        await connection.exec_driver_sql("LOCK TABLE order_items IN SHARE MODE")
        await ward.system.handle(order_id).signal("update_status", {"status": "PROCESSING"})
        # Answered once the fast way of projecting has given up, and the workflow tries the sure one.
        assert (await ward.truth(order_id)).order.status is PROCESSING
        doctor = ward.doctor(deep=True, pauses=LONG_PAUSES)
        examining = asyncio.create_task(doctor.examine(progress))
        looking = asyncio.create_task(progress.done.wait())
        await asyncio.wait({looking, examining}, return_when=asyncio.FIRST_COMPLETED)
        looking.cancel()
        await transaction.commit()

    assert progress.done.is_set()
    assert order_id not in {finding.order_id for finding in (await examining).findings}
