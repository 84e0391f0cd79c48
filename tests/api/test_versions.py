import asyncio

import httpx2
import pytest

from tests.api.test_idempotency import a_key, place
from tests.system import eventually


async def test_a_change_for_the_version_that_the_client_has_seen_is_made(http: httpx2.AsyncClient) -> None:
    order = await place(http)
    seen = (await http.get(f"/orders/{order}")).headers["ETag"]

    moved = await http.put(
        f"/orders/{order}/status", json={"status": "PROCESSING"}, headers={"If-Match": seen}
    )

    assert (moved.status_code, moved.headers["ETag"]) == (200, '"2"')


NO_MATCH = "Order has version 2, and no version matches what is asked for"


@pytest.mark.parametrize(
    ("tag", "detail"),
    [
        ('"1"', "Order has version 2, not 1"),
        ('"7"', "Order has version 2, not 7"),
        ('W/"2", "1"', "Order has version 2, not 1"),
        *((tag, NO_MATCH) for tag in ('W/"2"', "2", '"two"', '"02"', '"1,2"', '""', "")),
    ],
)
async def test_a_change_for_another_version_is_refused(
    http: httpx2.AsyncClient, tag: str, detail: str
) -> None:
    order = await place(http)
    await http.put(f"/orders/{order}/status", json={"status": "PROCESSING"})

    refused = await http.put(f"/orders/{order}/status", json={"status": "SHIPPED"}, headers={"If-Match": tag})

    assert (refused.status_code, refused.json()["current_version"]) == (412, 2)
    assert refused.json()["detail"] == detail
    assert refused.headers["ETag"] == '"2"'
    assert (await http.get(f"/orders/{order}")).json()["status"] == "PROCESSING"


@pytest.mark.parametrize(
    "lines",
    [['"1"'], ['"abc", "1"'], ['"1" , W/"2",, "1"'], ["", '"1"'], ['W/"1"', '"1"'], ['"x, y", "1"']],
    ids=str,
)
async def test_tags_that_no_order_has_match_nothing_and_do_no_harm(
    http: httpx2.AsyncClient, lines: list[str]
) -> None:
    order = await place(http)

    cancelled = await http.delete(f"/orders/{order}", headers=[("If-Match", line) for line in lines])

    assert cancelled.status_code == 200


@pytest.mark.parametrize("lines", [['"1", "2"'], ['"2"', '"1"'], ['"7", W/"1", "8"']], ids=str)
@pytest.mark.parametrize("params", [{}, {"dry_run": "true"}], ids=str)
async def test_a_command_is_for_one_version(
    http: httpx2.AsyncClient, lines: list[str], params: dict[str, str]
) -> None:
    order = await place(http)

    refused = await http.delete(
        f"/orders/{order}", params=params, headers=[("If-Match", line) for line in lines]
    )

    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
    assert refused.json()["detail"] == "header.If-Match: must name one version of the order"
    assert (await http.get(f"/orders/{order}")).json()["version"] == 1


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_of_racing_changes_of_one_version_one_is_made_and_the_others_have_another_version(
    http: httpx2.AsyncClient, method: str
) -> None:
    order = await place(http)
    path, body = (f"/orders/{order}", None)
    if method == "PUT":
        path, body = (f"/orders/{order}/status", {"status": "PROCESSING"})

    answers = await asyncio.gather(
        *(http.request(method, path, json=body, headers={"If-Match": '"1"'}) for _ in range(12))
    )

    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 11
    refusals = [answer.json() for answer in answers if answer.status_code == 412]
    assert {(it["code"], it["current_version"]) for it in refusals} == {("version_mismatch", 2)}
    assert (await http.get(f"/orders/{order}")).json()["version"] == 2


async def test_a_version_is_a_condition_for_the_workflow_when_nobody_waits(
    http: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    order = await place(http)
    await http.put(f"/orders/{order}/status", json={"status": "PROCESSING"})
    headers = {"If-Match": '"1"', "Prefer": "respond-async", "X-Request-ID": "stale-1"}

    answer = await http.put(f"/orders/{order}/status", json={"status": "SHIPPED"}, headers=headers)

    assert answer.status_code == 202
    rejections: list[dict[str, str]] = []

    async def is_refused() -> bool:
        rejections[:] = (await http.get(f"/orders/{order}/explain")).json()["rejections"]
        return bool(rejections)

    await eventually(is_refused)
    assert [(it["command_id"], it["request_id"], it["reason"]) for it in rejections] == [
        (answer.json()["command_id"], "stale-1", "Order has version 2, not 1")
    ]
    lines = {(it.getMessage().partition(" (")[0], it.__dict__.get("request_id")) for it in caplog.records}
    assert ("Refused a signal: Order has version 2, not 1", "stale-1") in lines
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
