"""The Temporal client: one way for every process to reach the server."""

import logging

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.envconfig import ClientConfig
from temporalio.runtime import LogForwardingConfig, LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter

from settings import ConfigurationError

# The SDK's native core writes through Python's logging too, so that a process has one log.
_RUNTIME = Runtime(
    telemetry=TelemetryConfig(
        logging=LoggingConfig(
            filter=TelemetryFilter(core_level="WARN", other_level="ERROR"),
            forwarding=LogForwardingConfig(logger=logging.getLogger("temporalio.core")),
        )
    )
)


async def connect(*, lazy: bool = False) -> Client:
    """A client for the server and namespace that Temporal's own environment names.

    A lazy client connects at its first call, so that a process can start while Temporal is away.

    Raises:
        ConfigurationError: the environment cannot be read, or nothing answers at the address.
    """
    try:
        config = ClientConfig.load_client_connect_config()
    except RuntimeError as error:
        raise ConfigurationError(f"Temporal's configuration cannot be read: {error}") from None
    address = config.setdefault("target_host", "localhost:7233")
    try:
        return await Client.connect(
            **config, data_converter=pydantic_data_converter, lazy=lazy, runtime=_RUNTIME
        )
    except RuntimeError as error:
        raise ConfigurationError(
            f"Temporal does not answer at {address} (TEMPORAL_ADDRESS): {_last_line(error)}"
        ) from None


def _last_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[-1]
