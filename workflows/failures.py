"""Carrying a domain refusal through Temporal, from the workflow to whoever asked."""

from typing import Final

from temporalio.exceptions import ApplicationError

from orders.errors import (
    CommandIdReused,
    InvalidTransition,
    InvalidValue,
    OrderError,
    VersionMismatch,
)

_CARRIED: Final[dict[str, type[OrderError]]] = {
    error.__name__: error for error in (CommandIdReused, InvalidTransition, InvalidValue, VersionMismatch)
}


def to_failure(error: OrderError) -> ApplicationError:
    """The failure that a workflow raises for a refusal."""
    return ApplicationError(str(error), *error.args, type=type(error).__name__, non_retryable=True)


def from_failure(failure: BaseException | None) -> OrderError | None:
    """The refusal that a failure carries, or None where it is something else."""
    if not isinstance(failure, ApplicationError) or failure.type not in _CARRIED:
        return None
    return _CARRIED[failure.type](*failure.details)
