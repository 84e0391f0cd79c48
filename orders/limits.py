"""How large an order may be: judged once, at the door.

A running order is never judged again, so a limit can be moved without touching the orders that
were placed under the old one (and without breaking the replay of their workflows).
"""

from decimal import Decimal

MAX_ITEMS = 500
MAX_QUANTITY = 1_000_000
MAX_UNIT_PRICE = Decimal(1_000_000_000)
MAX_TOTAL = Decimal(1_000_000_000_000)
