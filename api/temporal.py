"""Asking Temporal: a bound on its silence, and its errors told apart."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
from temporalio.service import RPCError, RPCStatusCode


class TemporalUnavailable(Exception):  # noqa: N818 - the name is the fact
    """Temporal did not take a call, so nothing was promised."""


class NoWorkflow(Exception):  # noqa: N818 - the name is the fact
    """There is no such workflow, or it has ended."""


# A mistake of ours or of the deployment: asking again later would not help.
_NEVER_HEALS = {
    RPCStatusCode.INVALID_ARGUMENT,
    RPCStatusCode.UNAUTHENTICATED,
    RPCStatusCode.PERMISSION_DENIED,
    RPCStatusCode.UNIMPLEMENTED,
}


@asynccontextmanager
async def asking_temporal(patience: float) -> AsyncIterator[None]:
    """Tell apart that there is no such workflow, and that Temporal says nothing for `patience` seconds.

    Raises:
        NoWorkflow: there is none, or it has ended.
        TemporalUnavailable: Temporal could not be reached, or could not do it now.
    """
    try:
        # Not `rpc_timeout`: the client retries, and that bounds each attempt only.
        async with asyncio.timeout(patience):
            yield
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND and not _is_about_the_namespace(error):
            raise NoWorkflow from error
        if error.status in _NEVER_HEALS:
            raise
        raise TemporalUnavailable(f"Temporal: {error.status.name}: {error.message}") from error
    except TimeoutError as error:
        raise TemporalUnavailable(f"Temporal did not answer within {patience:g} s") from error
    except RuntimeError as error:
        # A client that connects at its first call raises this where it cannot.
        raise TemporalUnavailable(f"Temporal: {str(error).strip().splitlines()[-1]}") from error


def _is_about_the_namespace(error: RPCError) -> bool:
    details = error.grpc_status.details
    return bool(details) and details[0].Is(NamespaceNotFoundFailure.DESCRIPTOR)
