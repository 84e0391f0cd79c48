"""The Temporal client: one way for every process to reach the server."""

import logging
import re
from functools import cache

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import CompositePayloadConverter, DataConverter
from temporalio.envconfig import ClientConfig
from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)
from temporalio.service import GrpcCompression, RPCError

from settings import ConfigurationError

_CONVERTERS = tuple(PydanticPayloadConverter().converters.values())


class _PayloadConverter(CompositePayloadConverter):
    """Pydantic's, with one converter for all workflows.

    The SDK makes a payload converter for each workflow, and Pydantic's would build in each of them how an
    order is read, which takes longer than to carry out a command.
    """

    def __init__(self) -> None:
        super().__init__(*_CONVERTERS)


DATA_CONVERTER = DataConverter(payload_converter_class=_PayloadConverter)
"""How everything that travels through Temporal is written: JSON, as Pydantic writes it."""

_ADDRESS = re.compile(r"[\w.:\[\]-]+:[0-9]{1,5}")
_LAST_PORT = 65_535


@cache
def _runtime(metrics_address: str | None) -> Runtime:
    """The SDK's native core, which counts for Prometheus where an address is given."""
    metrics = PrometheusConfig(bind_address=metrics_address) if metrics_address else None
    # It writes through Python's logging too, so that a process has one log.
    logs = LoggingConfig(
        filter=TelemetryFilter(core_level="WARN", other_level="ERROR"),
        forwarding=LogForwardingConfig(logger=logging.getLogger("temporalio.core")),
    )
    try:
        return Runtime(telemetry=TelemetryConfig(logging=logs, metrics=metrics))
    except (RuntimeError, ValueError) as error:
        raise ConfigurationError(
            f"ORDERS_METRICS_ADDRESS: cannot serve metrics at {metrics_address}: {_one_line(error)}"
        ) from None


async def connect(*, lazy: bool = False, metrics_address: str | None = None) -> Client:
    """A client for the server and namespace that Temporal's own environment names.

    A lazy client connects at its first call, so that a process can start while Temporal is away.
    Metrics of the client, and of workers on it, are served to Prometheus at the address, if there is one.

    Raises:
        ConfigurationError: the environment cannot be read, or nothing answers at the address.
    """
    try:
        config = ClientConfig.load_client_connect_config()
    except (RuntimeError, ValueError, OSError) as error:
        raise ConfigurationError(f"Temporal's configuration cannot be read: {_one_line(error)}") from None
    address = config.setdefault("target_host", "localhost:7233")
    if not _ADDRESS.fullmatch(address) or int(address.rpartition(":")[2]) > _LAST_PORT:
        raise ConfigurationError(f"TEMPORAL_ADDRESS: must be like localhost:7233, not {address!r}")
    try:
        client = await Client.connect(
            **config,
            data_converter=DATA_CONVERTER,
            lazy=lazy,
            runtime=_runtime(metrics_address),
            # Messages are small: to compress them costs more than to send them (docs/decisions/0011).
            grpc_compression=GrpcCompression.NONE,
        )
        if not lazy:
            await client.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace=client.namespace)
            )
    except (RuntimeError, ValueError) as error:
        raise ConfigurationError(
            f"Temporal does not answer at {address} (TEMPORAL_ADDRESS): {_one_line(error)}"
        ) from None
    except RPCError as error:
        raise ConfigurationError(
            f"Temporal at {address} does not serve the namespace {config.get('namespace', 'default')} "
            f"(TEMPORAL_NAMESPACE): {_one_line(error)}"
        ) from None
    return client


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
