from tests.system import System, a_customer
from uuid import uuid4
from decimal import Decimal
from orders.commands import *


async def test_smoke(system: System) -> None:
    c = PlaceOrder(
        order_id=uuid4(),
        customer_id=a_customer(),
        items=(NewLineItem(product_id="a", quantity=1, unit_price=Decimal("1.00")),),
    )
    a = await system.dispatcher.place(c, wait=True)
    assert a is not None and a.order.version == 1
