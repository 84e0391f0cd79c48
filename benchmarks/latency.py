"""What one client waits for: `python -m benchmarks.latency [API]`, against a system that is running.

Prints the median, the 95th and the 99th percentile in milliseconds of each call of an order's life.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Callable
from statistics import quantiles

import httpx2

ORDERS = 70
WARM_UP = 10
READS_OF_EACH = 5
LAPTOP_AND_MICE = {
    "customer_id": "benchmark",
    "items": [
        {"product_id": "laptop", "quantity": 1, "unit_price": 999.99},
        {"product_id": "mouse", "quantity": 2, "unit_price": 25.50},
    ],
}


def main(api_url: str) -> None:
    """Live through the orders, one call after the other, and print what each kind of call took."""
    waits: dict[str, list[float]] = defaultdict(list)
    with httpx2.Client(base_url=api_url) as client:
        for number in range(ORDERS):
            live_one_order(client, waits if number >= WARM_UP else defaultdict(list))
            if sys.stderr.isatty():
                sys.stderr.write(f"\r{number + 1} of {ORDERS} orders")
    sys.stderr.write("\n")
    for call, milliseconds in waits.items():
        hundredths = quantiles(milliseconds, n=100)
        p50, p95, p99 = hundredths[49], hundredths[94], hundredths[98]
        sys.stdout.write(
            f"{call:<20} p50 {p50:6.1f}   p95 {p95:6.1f}   p99 {p99:6.1f}   n {len(milliseconds)}\n"
        )


def live_one_order(client: httpx2.Client, waits: dict[str, list[float]]) -> None:
    """Create an order, be refused once, move it to DELIVERED, and read it."""

    def timed(call: str, expected: int, send: Callable[[], httpx2.Response]) -> httpx2.Response:
        began = time.perf_counter()
        response = send()
        waits[call].append(1_000 * (time.perf_counter() - began))
        if response.status_code != expected:
            sys.exit(f"{call}: expected {expected}, got {response.status_code} {response.text}")
        return response

    order = timed("create", 201, lambda: client.post("/orders/", json=LAPTOP_AND_MICE)).json()["id"]
    path = f"/orders/{order}"
    timed("refused change", 409, lambda: client.put(f"{path}/status", json={"status": "DELIVERED"}))
    timed("change", 200, lambda: client.put(f"{path}/status", json={"status": "PROCESSING"}))
    timed("change", 200, lambda: client.put(f"{path}/status", json={"status": "SHIPPED"}))
    timed("change", 200, lambda: client.put(f"{path}/status", json={"status": "DELIVERED"}))
    for _ in range(READS_OF_EACH):
        timed("get", 200, lambda: client.get(path))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000")
