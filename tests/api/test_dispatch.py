"""What a repeated command does: `Dispatcher` is where the API relies on it."""

import asyncio
from itertools import islice

import pytest

from api.pace import Pace
from orders.status import OrderStatus
from tests.builders import a_change, a_place_order
from tests.system import System, a_customer


async def test_an_order_is_placed_once_however_often_it_is_asked_for(system: System) -> None:
    command = a_place_order(customer_id=a_customer())

    first = await system.dispatcher.place(command, wait=True)
    again = await system.dispatcher.place(command, wait=True)

    assert first is not None
    assert again is not None
    assert (first.replayed, again.replayed) == (False, True)
    assert first.order == again.order


async def test_an_order_that_is_asked_for_twice_at_once_is_placed_once(system: System) -> None:
    command = a_place_order(customer_id=a_customer())

    answers = await asyncio.gather(*(system.dispatcher.place(command, wait=True) for _ in range(4)))

    assert len({answer.order for answer in answers if answer is not None}) == 1
    assert sorted(answer.replayed for answer in answers if answer is not None) == [False, True, True, True]


async def test_placing_an_order_that_is_over_answers_as_it_was_placed(system: System) -> None:
    command = a_place_order(customer_id=a_customer())
    first = await system.dispatcher.place(command, wait=True)
    await system.dispatcher.change(command.order_id, a_change(OrderStatus.CANCELLED), wait=True)
    await system.handle(command.order_id).result()

    again = await system.dispatcher.place(command, wait=True)

    assert first is not None
    assert again is not None
    assert (again.order, again.replayed) == (first.order, True)


async def test_a_repeated_change_is_answered_as_the_first_time_even_when_the_order_is_over(
    system: System,
) -> None:
    command = a_place_order(customer_id=a_customer())
    await system.dispatcher.place(command, wait=True)
    processing = a_change(OrderStatus.PROCESSING)

    first = await system.dispatcher.change(command.order_id, processing, wait=True)
    for status in (OrderStatus.SHIPPED, OrderStatus.DELIVERED):
        await system.dispatcher.change(command.order_id, a_change(status), wait=True)
    await system.handle(command.order_id).result()
    again = await system.dispatcher.change(command.order_id, processing, wait=True)

    assert first is not None
    assert again is not None
    assert (first.replayed, again.replayed) == (False, True)
    assert first.order == again.order


def test_a_write_is_looked_for_when_others_have_been_there() -> None:
    pace = Pace()
    idle = list(islice(pace.pauses(), 4))
    for _ in range(20):
        pace.note(0.4)
    busy = list(islice(pace.pauses(), 4))
    for _ in range(20):
        pace.note(0.01)

    assert sum(idle) < 0.02
    assert busy[0] == pytest.approx(0.2, rel=0.01)
    assert sum(busy) > 0.4
    assert list(islice(pace.pauses(), 4)) == pytest.approx(idle, rel=0.1)


def test_a_look_is_never_far_away() -> None:
    pace = Pace()
    for _ in range(50):
        pace.note(60)

    assert max(islice(pace.pauses(), 50)) <= 0.25
