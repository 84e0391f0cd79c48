"""What an activity's failure says in the Temporal Web UI."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError
from temporalio.exceptions import ApplicationError

from database.engine import DatabaseUnavailable


@contextmanager
def database_failures_in_one_line() -> Iterator[None]:
    """Make what PostgreSQL says a failure of one line.

    With its causes and their stacks it would be larger than Temporal keeps, which then keeps nothing of it.

    Raises:
        ApplicationError: PostgreSQL is away, or refuses.
    """
    try:
        yield
    except (DatabaseUnavailable, DBAPIError) as error:
        raise ApplicationError(str(error).partition("\n")[0], type=type(error).__name__) from None
