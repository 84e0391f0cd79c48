import json
import logging
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from database.projection import project
from embedded.child import free_port
from orders import lifecycle
from orders.status import OrderStatus
from tests.api.callers import a_key, with_its_own_database
from tests.api.conftest import a_body, an_item, place, put
from tests.builders import NOON, a_change, a_place_order, a_record
from tests.processes import Run, servers_of, started
from tests.system import System


@pytest.mark.parametrize("given", ["a", "order-7:retry.2_A", "x" * 128])
async def test_a_callers_request_id_comes_back(http: httpx2.AsyncClient, given: str) -> None:
    response = await http.get("/health", headers={"X-Request-ID": given})

    assert response.headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "two words", "a\tb", "<script>", "naïve"])
async def test_a_request_id_that_could_forge_a_log_line_is_replaced(
    http: httpx2.AsyncClient, given: str
) -> None:
    response = await http.get("/health", headers=[(b"X-Request-ID", given.encode())])

    assert response.headers["X-Request-ID"] not in {given, ""}


async def test_every_request_without_an_id_gets_one_of_its_own(http: httpx2.AsyncClient) -> None:
    made = {(await http.get("/health")).headers["X-Request-ID"] for _ in range(3)}

    assert len(made) == 3


async def test_a_problem_names_the_request(http: httpx2.AsyncClient) -> None:
    order = await place(http)

    response = await http.get("/orders/1", headers={"X-Request-ID": "mine"})
    refused = await put(http, order, "DELIVERED")

    assert response.json()["request_id"] == "mine"
    assert refused.json()["request_id"] == refused.headers["X-Request-ID"]


async def test_the_log_tells_who_asked_what_and_how_it_ended(
    http: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="api.access")

    await http.get("/orders/1%0Aforged?limit=2")

    # By name: once a test has set logging up, the HTTP client's own lines stand among them.
    [line] = [record for record in caplog.records if record.name == "api.access"]
    assert (line.getMessage(), line.__dict__["status"]) == ("GET /orders/1%0Aforged", 422)


MARK = "hunter2"


async def entry_of(api: Run, request_id: str) -> dict[str, Any]:
    """The line in which the process has logged the request."""
    await api.until_said(request_id)
    (entry,) = [
        entry
        for line in api.log
        if (entry := json.loads(line))["logger"] == "api.access" and entry["request_id"] == request_id
    ]
    return dict(entry)


async def test_the_process_logs_who_asked_what_and_nothing_of_a_body(system: System) -> None:
    async with with_its_own_database(system) as own:
        key = await a_key(own)
        placed = a_record(placing=a_place_order(customer_id=MARK))
        change = a_change(OrderStatus.PROCESSING, reason=MARK)
        record = lifecycle.apply(placed, lifecycle.decide(placed, change, NOON))
        await project(own.engine, record)
        known = f"/orders/{record.order.id}"
        port = str(free_port())
        environment = {"ORDERS_API_PORT": port, "ORDERS_LOG_FORMAT": "json", "LOG_LEVEL": "DEBUG"}
        url = f"http://127.0.0.1:{port}"
        async with (
            started("-m", "api", **servers_of(own), **environment) as api,
            httpx2.AsyncClient(base_url=url, headers=key.headers) as http,
        ):
            await api.until_said("running on")

            async def ask(method: str, path: str, **request: Any) -> httpx2.Response:  # noqa: ANN401
                answer = await http.request(method, path, **request)
                entry = await entry_of(api, answer.headers["X-Request-ID"])
                assert entry["event"] == f"{method} {path.partition('?')[0]}"
                assert (entry["caller"], entry["status"]) == (f"shop ({key.stored.id})", answer.status_code)
                assert entry["milliseconds"] >= 0
                return answer

            marked = a_body(customer_id=f"{MARK}-{uuid4()}", items=[an_item(product_id=MARK)])
            # The workers write to another database, so what is placed here is durable and no more.
            accepted = await ask("POST", "/orders/", json=marked, headers={"Prefer": "respond-async"})
            path = f"/orders/{accepted.json()['order_id']}"
            for seen in (f"/orders/?customer_id={MARK}", known, f"{known}/history"):
                assert MARK in (await ask("GET", seen)).text
            body = {"status": "PROCESSING", "reason": MARK, "changed_by": MARK}
            await ask("PUT", f"{path}/status", json=body, headers={"Prefer": "respond-async"})
            broken = f'{{"customer_id": "{MARK}'.encode()
            refusals = [
                await ask("POST", "/orders/", json=marked | {MARK: 1}),
                await ask("POST", "/orders/", json=marked | {"currency": MARK}),
                await ask("POST", "/orders/", content=broken, headers={"Content-Type": "application/json"}),
                await ask("PUT", f"{path}/status", json=body | {"status": MARK}),
                await ask("PUT", f"/orders/{uuid4()}/status", json=body),
            ]

    assert [answer.status_code for answer in refusals] == [422, 422, 400, 422, 404]
    assert [line for line in api.log if MARK in line] == []
