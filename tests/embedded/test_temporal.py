import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client

from embedded.child import EmbeddedError, free_port, running
from embedded.temporal import Temporal, find_temporal, prepare_temporal

ATTRIBUTES = {"OrderStatus": "Keyword", "CustomerId": "Keyword"}


def prepare(database: Path | None = None) -> Temporal:
    return prepare_temporal(free_port(), search_attributes=ATTRIBUTES, database=database)


async def test_the_search_attributes_are_known_from_the_first_answer() -> None:
    server = prepare()

    async with running(server.program):
        client = await Client.connect(server.address)
        request = ListSearchAttributesRequest(namespace="default")
        known = (await client.operator_service.list_search_attributes(request)).custom_attributes

    assert set(ATTRIBUTES) <= set(known)


async def test_a_killed_server_still_has_its_workflows_when_it_starts_again(data_dir: Path) -> None:
    server = prepare(data_dir / "temporal.sqlite")
    async with running(server.program) as child:
        client = await Client.connect(server.address)
        await client.start_workflow("Anything", id="kept", task_queue="nobody")
        child.kill()
        await child.wait()

    server = prepare(data_dir / "temporal.sqlite")
    async with running(server.program):
        client = await Client.connect(server.address)
        assert (await client.get_workflow_handle("kept").describe()).id == "kept"


async def test_several_start_at_once_without_taking_each_others_ports() -> None:
    servers = [prepare() for _ in range(3)]

    async with AsyncExitStack() as stack:
        await asyncio.gather(*(stack.enter_async_context(running(server.program)) for server in servers))


def test_a_machine_without_temporal_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(EmbeddedError, match=r"^Temporal was not found: install .* or set TEMPORAL_ADDRESS$"):
        find_temporal()


def test_without_the_wheel_the_command_on_path_serves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    command = tmp_path / "temporal"
    command.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_temporal() == command
