import logging

import httpx2
import pytest

from tests.api.conftest import place, put


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
