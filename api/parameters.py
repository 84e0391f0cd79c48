"""The parameters of a call's query: one that nobody declared is a mistake, and so is one given twice.

FastAPI ignores the first and takes the last of the second, and `?dryrun=true` would place an order.
"""

from collections import Counter
from typing import get_origin

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_flat_params
from fastapi.exceptions import RequestValidationError
from fastapi.params import ParamTypes


class QueryParameters:
    """The parameters that a call has."""

    def __init__(self, dependant: Dependant) -> None:
        """Take them from what the call declares, its dependencies included."""
        fields = [field for field in get_flat_params(dependant) if _is_in_query(field.field_info)]
        self._known = {field.alias for field in fields}
        self._repeatable = {
            field.alias for field in fields if get_origin(field.field_info.annotation) is list
        }

    def check(self, request: Request) -> None:
        """Refuse what the call does not have, and what it has once.

        Raises:
            RequestValidationError: naming each.
        """
        given = Counter(name for name, _ in request.query_params.multi_items())
        mistakes = [
            {"type": "query", "loc": ("query", name), "msg": reason}
            for name, times in given.items()
            if (reason := self._mistake(name, times))
        ]
        if mistakes:
            raise RequestValidationError(mistakes)

    def _mistake(self, name: str, times: int) -> str:
        if name not in self._known:
            return "There is no such parameter"
        return "must be given once" if times > 1 and name not in self._repeatable else ""


def _is_in_query(info: object) -> bool:
    return getattr(info, "in_", ParamTypes.query) is ParamTypes.query
