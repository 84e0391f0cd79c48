"""GET /orders/{order_id} and its history."""

from uuid import UUID, uuid4

import httpx2
import pytest

from tests.api.conftest import history, move, place, put

READS = ("/orders/{}", "/orders/{}/", "/orders/{}/history", "/orders/{}/history/")


@pytest.mark.parametrize("path", READS)
async def test_an_order_is_read_with_and_without_the_last_slash(http: httpx2.AsyncClient, path: str) -> None:
    order = await place(http)

    assert (await http.get(path.format(order["id"]))).status_code == 200


@pytest.mark.parametrize("path", READS)
async def test_an_order_that_nobody_placed_is_not_found(http: httpx2.AsyncClient, path: str) -> None:
    unknown = uuid4()

    response = await http.get(path.format(unknown))

    assert response.status_code == 404
    assert (response.json()["code"], response.json()["detail"]) == (
        "order_not_found",
        f"Order {unknown} not found",
    )


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("order_id", ["1", "order", "%00", "%ff", "123e4567-e89b-12d3-a456-42661417400"])
async def test_what_is_not_a_uuid_is_refused(http: httpx2.AsyncClient, path: str, order_id: str) -> None:
    response = await http.get(path.format(order_id))

    assert response.status_code == 422
    assert [error["place"] for error in response.json()["errors"]] == ["path.order_id"]


async def test_an_order_shows_where_it_stands_and_where_it_may_go(http: httpx2.AsyncClient) -> None:
    order = await place(http)
    await move(http, order, "PROCESSING")

    response = await http.get(f"/orders/{order['id']}")

    found = response.json()
    assert (found["status"], found["version"], found["allowed_transitions"]) == ("PROCESSING", 2, ["SHIPPED"])
    assert found["updated_at"] > found["created_at"] == order["created_at"]
    assert response.headers["ETag"] == '"2"'


async def test_the_history_tells_every_change_oldest_first(http: httpx2.AsyncClient) -> None:
    order = await place(http)
    await put(http, order, "PROCESSING", changed_by="ann", reason="paid")
    await put(http, order, "SHIPPED", changed_by="bob")
    delivered = await put(http, order, "DELIVERED")

    told = await history(http, order["id"])

    steps = [
        (step["version"], step["old_status"], step["new_status"], step["changed_by"], step["reason"])
        for step in told
    ]
    assert steps == [
        (1, None, "PENDING", "api", None),
        (2, "PENDING", "PROCESSING", "ann", "paid"),
        (3, "PROCESSING", "SHIPPED", "bob", None),
        (4, "SHIPPED", "DELIVERED", "api", None),
    ]
    assert [step["changed_at"] for step in told] == sorted(step["changed_at"] for step in told)
    assert (told[0]["changed_at"], told[-1]["changed_at"]) == (
        order["created_at"],
        delivered.json()["updated_at"],
    )


async def test_every_change_has_a_command_id_of_its_own(http: httpx2.AsyncClient) -> None:
    order = await place(http)
    await move(http, order, "PROCESSING", "SHIPPED")

    ids = [UUID(step["command_id"]) for step in await history(http, order["id"])]

    assert len(set(ids)) == 3
    assert ids[0] == UUID(order["id"])
