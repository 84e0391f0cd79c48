import httpx2
import pytest

from tests.api.test_idempotency import a_key, place


async def test_a_change_for_the_version_that_the_client_has_seen_is_made(http: httpx2.AsyncClient) -> None:
    order = await place(http)
    seen = (await http.get(f"/orders/{order}")).headers["ETag"]

    moved = await http.put(
        f"/orders/{order}/status", json={"status": "PROCESSING"}, headers={"If-Match": seen}
    )

    assert (moved.status_code, moved.headers["ETag"]) == (200, '"2"')


@pytest.mark.parametrize("tag", ['"1"', '"7"', 'W/"2"', "2", '"two"', '"1", "2"', '""'])
async def test_a_change_for_another_version_is_refused(http: httpx2.AsyncClient, tag: str) -> None:
    order = await place(http)
    await http.put(f"/orders/{order}/status", json={"status": "PROCESSING"})

    refused = await http.put(f"/orders/{order}/status", json={"status": "SHIPPED"}, headers={"If-Match": tag})

    assert (refused.status_code, refused.json()["current_version"]) == (412, 2)
    assert refused.headers["ETag"] == '"2"'
    assert (await http.get(f"/orders/{order}")).json()["status"] == "PROCESSING"


async def test_a_cancel_can_be_for_one_version_too(http: httpx2.AsyncClient) -> None:
    order = await place(http)

    refused = await http.delete(f"/orders/{order}", headers={"If-Match": '"2"'})
    cancelled = await http.delete(f"/orders/{order}", headers={"If-Match": '"1"'})

    assert (refused.status_code, cancelled.status_code) == (412, 200)


async def test_any_version_will_do_for_a_star(http: httpx2.AsyncClient) -> None:
    order = await place(http)

    assert (await http.delete(f"/orders/{order}", headers={"If-Match": "*"})).status_code == 200


async def test_a_repeated_command_is_answered_although_it_has_changed_the_version(
    http: httpx2.AsyncClient,
) -> None:
    order = await place(http)
    headers = a_key() | {"If-Match": '"1"'}
    first = await http.delete(f"/orders/{order}", headers=headers)

    again = await http.delete(f"/orders/{order}", headers=headers)

    assert (again.status_code, again.json()) == (200, first.json())


@pytest.mark.parametrize(
    ("known", "status"),
    [('"1"', 304), ('W/"1"', 304), ('"7", "1"', 304), ("*", 304), ('"2"', 200), ("1", 200)],
)
async def test_a_version_that_the_client_has_is_not_sent_again(
    http: httpx2.AsyncClient, known: str, status: int
) -> None:
    order = await place(http)

    answer = await http.get(f"/orders/{order}", headers={"If-None-Match": known})

    assert (answer.status_code, answer.headers["ETag"]) == (status, '"1"')
