import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import GrpcCompression

from connection import connect
from embedded.child import free_port
from orders.status import OrderStatus
from settings import ConfigurationError
from tests.builders import a_place_order, a_record
from tests.conftest import Servers
from workflows.state import OrderInput, OrderState

KEY_PAIR = ("TEMPORAL_TLS_CLIENT_CERT_PATH", "TEMPORAL_TLS_CLIENT_KEY_PATH")


@pytest.fixture(autouse=True)
def no_environment() -> Iterator[None]:
    """An environment without a variable, and without the developer's own profiles."""
    with mock.patch.dict(os.environ, {"TEMPORAL_CONFIG_FILE": os.devnull}, clear=True):
        yield


async def refusal(environment: dict[str, str], *, lazy: bool = False) -> str:
    """What a process in this environment says instead of starting."""
    os.environ.update(environment)
    with pytest.raises(ConfigurationError) as refused:
        await connect(lazy=lazy)
    return str(refused.value)


async def test_the_server_and_the_namespace_are_those_of_temporals_own_variables(servers: Servers) -> None:
    os.environ |= {"TEMPORAL_ADDRESS": servers.temporal_address, "TEMPORAL_NAMESPACE": "shared"}

    client = await connect()

    assert client.namespace == "shared"
    assert client.service_client.config.target_host == servers.temporal_address
    assert await client.service_client.check_health()


async def test_the_server_and_the_namespace_can_be_those_of_a_profile(tmp_path: Path) -> None:
    profiles = tmp_path / "temporal.toml"
    profiles.write_text('[profile.shop]\naddress = "temporal.shop:7233"\nnamespace = "shop"\n')
    os.environ |= {"TEMPORAL_CONFIG_FILE": str(profiles), "TEMPORAL_PROFILE": "shop"}

    client = await connect(lazy=True)

    assert client.service_client.config.target_host == "temporal.shop:7233"
    assert client.namespace == "shop"


async def test_without_any_of_them_it_is_this_machines() -> None:
    client = await connect(lazy=True)

    assert client.service_client.config.target_host == "localhost:7233"
    assert client.namespace == "default"


async def test_what_it_sends_is_written_as_pydantic_writes_it() -> None:
    converter = (await connect(lazy=True)).data_converter
    record = a_record(OrderStatus.PROCESSING)
    values = [OrderInput(place=a_place_order()), OrderInput(carried=OrderState(record=record))]

    assert await converter.encode(values) == await pydantic_data_converter.encode(values)


async def test_small_messages_are_not_compressed() -> None:
    assert (await connect(lazy=True)).service_client.config.grpc_compression is GrpcCompression.NONE


async def test_a_lazy_client_is_made_while_nothing_answers() -> None:
    os.environ["TEMPORAL_ADDRESS"] = f"127.0.0.1:{free_port()}"

    client = await connect(lazy=True)

    with pytest.raises(RuntimeError):
        await client.service_client.check_health()


async def test_where_nothing_answers_one_line_names_the_address_and_its_variable() -> None:
    address = f"127.0.0.1:{free_port()}"

    message = await refusal({"TEMPORAL_ADDRESS": address})

    assert message.startswith(f"Temporal does not answer at {address} (TEMPORAL_ADDRESS): ")
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("address", ["not an address", "localhost:port", "localhost:99999"])
async def test_what_is_no_address_is_refused_in_one_line_that_names_its_variable(
    address: str, *, lazy: bool
) -> None:
    message = await refusal({"TEMPORAL_ADDRESS": address}, lazy=lazy)

    assert "TEMPORAL_ADDRESS" in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"TEMPORAL_PROFILE": "missing"}, "missing"),
        (dict.fromkeys(KEY_PAIR, "/missing.pem"), "/missing.pem"),
    ],
)
async def test_a_configuration_that_cannot_be_read_is_refused_in_one_line_that_says_why(
    environment: dict[str, str], reason: str
) -> None:
    message = await refusal(environment)

    assert message.startswith("Temporal's configuration cannot be read: ")
    assert reason in message
    assert len(message.splitlines()) == 1


async def test_a_file_of_profiles_that_is_no_toml_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "temporal.toml").write_text("[profile.default\naddress = 1\n")

    message = await refusal({"TEMPORAL_CONFIG_FILE": str(tmp_path / "temporal.toml")})

    assert message.startswith("Temporal's configuration cannot be read: ")
    assert len(message.splitlines()) == 1
