"""Every way in which a repair can meet the projection of a change."""

import asyncio
from itertools import cycle

import pytest

from database.audit import overwrite, read_rows
from database.projection import Rows, project
from doctor.findings import Kind
from orders import lifecycle
from orders.order import OrderRecord
from orders.status import OrderStatus
from tests.builders import a_record
from tests.doctor.conftest import Ward
from tests.system import eventually

_, PROCESSING, SHIPPED, DELIVERED, _ = OrderStatus

AHEAD = "UPDATE orders SET version = 9 WHERE id = :id"


async def stored(ward: Ward, record: OrderRecord) -> Rows:
    return (await read_rows(ward.system.engine, [record.order.id]))[record.order.id]


async def waits_for_a_lock(ward: Ward) -> bool:
    async with ward.system.engine.connect() as connection:
        waiting = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return bool((await connection.exec_driver_sql(waiting)).scalar_one())


async def test_rows_that_have_moved_since_they_were_seen_are_left_alone(ward: Ward) -> None:
    old = a_record(PROCESSING)
    await ward.store(old)
    seen = await stored(ward, old)
    await ward.harm(old.order.id, AHEAD)
    moved = await stored(ward, old)

    async def never() -> OrderRecord:
        pytest.fail("nobody need be asked")

    assert not await overwrite(ward.system.engine, seen, never)
    assert await stored(ward, old) == moved


async def test_a_change_that_is_projected_while_the_workflow_is_asked_stays(ward: Ward) -> None:
    newer = a_record(PROCESSING, SHIPPED)
    older = before_last(newer)
    await ward.store(older)
    await ward.harm(older.order.id, "UPDATE orders SET total_amount = 1 WHERE id = :id")
    projecting: list[asyncio.Task[None]] = []

    async def ask() -> OrderRecord:
        projecting.append(asyncio.create_task(project(ward.system.engine, newer)))
        await eventually(lambda: waits_for_a_lock(ward))
        return older

    assert await overwrite(ward.system.engine, await stored(ward, older), ask)
    await asyncio.gather(*projecting)

    assert await ward.stored(newer.order.id) == newer


async def test_a_change_that_the_workflow_makes_while_it_is_asked_stays(ward: Ward) -> None:
    order_id = await ward.place()
    older = await ward.truth(order_id)
    await ward.harm(order_id, "UPDATE orders SET total_amount = 1 WHERE id = :id")

    async def ask() -> OrderRecord:
        await ward.system.handle(order_id).signal("update_status", {"status": "PROCESSING"})
        await eventually(lambda: waits_for_a_lock(ward))
        return older

    assert await overwrite(ward.system.engine, await stored(ward, older), ask)

    await ward.until_projected(order_id)
    assert (await ward.truth(order_id)).order.status is PROCESSING
    assert await ward.kinds(deep=True) == {}


async def test_where_the_workflow_does_not_answer_nothing_is_changed(ward: Ward) -> None:
    record = a_record()
    await ward.store(record)
    await ward.harm(record.order.id, AHEAD)
    before = await stored(ward, record)

    async def ask() -> OrderRecord:
        raise LookupError

    with pytest.raises(LookupError):
        await overwrite(ward.system.engine, before, ask)

    assert await stored(ward, record) == before


def before_last(record: OrderRecord) -> OrderRecord:
    version = record.order.version - 1
    return OrderRecord(order=lifecycle.at(record, version), history=record.history[:version])


async def test_repairs_among_commands_and_harm_lose_nothing(ward: Ward) -> None:
    """Everybody writes the same few orders at once; when they rest, PostgreSQL is as the workflows say."""
    ids = await asyncio.gather(*(ward.place() for _ in range(4)))
    moving = True

    async def move() -> None:
        for status in (PROCESSING, SHIPPED, DELIVERED):
            for order_id in ids:
                await ward.system.handle(order_id).signal("update_status", {"status": status})
                await asyncio.sleep(0.05)

    async def harm() -> None:
        statements = cycle((AHEAD, "UPDATE orders SET total_amount = 1, updated_at = now() WHERE id = :id"))
        while moving:
            for order_id in ids:
                await ward.harm(order_id, next(statements))
            await asyncio.sleep(0.2)

    async def repair() -> None:
        while moving:
            await asyncio.gather(*(ward.mend(order_id) for order_id in ids))

    writers = [asyncio.create_task(write()) for write in (harm, repair, repair)]
    await move()
    moving = False
    await asyncio.gather(*writers)
    await ward.examine(deep=True, repair=True)

    for order_id in ids:
        truth = await ward.truth(order_id)
        assert [change.new_status for change in truth.history][1:] == [PROCESSING, SHIPPED, DELIVERED]
        assert await ward.stored(order_id) == truth
    assert await ward.kinds(deep=True) == {}


async def test_what_postgresql_refuses_is_said(ward: Ward) -> None:
    order_id = await ward.place()
    async with ward.system.engine.connect() as connection:
        run = connection.exec_driver_sql
        fussy = "CHECK (new_status <> 'PROCESSING') NOT VALID"
        await run(f"ALTER TABLE order_status_history ADD CONSTRAINT fussy {fussy}")
        try:
            await ward.system.handle(order_id).signal("update_status", {"status": "PROCESSING"})
            assert (await ward.truth(order_id)).order.status is PROCESSING
            (finding,) = (await ward.examine(deep=True, repair=True)).left
        finally:
            await run("ALTER TABLE order_status_history DROP CONSTRAINT fussy")

    assert finding.kind is Kind.STALE
    assert finding.todo.startswith("PostgreSQL refuses what its workflow says: ")
    assert 'violates check constraint "fussy"' in finding.todo
    await ward.until_projected(order_id)
