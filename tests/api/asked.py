"""Counting what is asked of Temporal."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from temporalio.client import (
    Client,
    DescribeWorkflowInput,
    Interceptor,
    OutboundInterceptor,
    QueryWorkflowInput,
    SignalWorkflowInput,
    WorkflowExecutionDescription,
)

from tests.system import System


class _Counting(OutboundInterceptor):
    def __init__(self, further: OutboundInterceptor, asked: Counter[str]) -> None:
        super().__init__(further)
        self._asked = asked

    async def describe_workflow(self, input: DescribeWorkflowInput) -> WorkflowExecutionDescription:  # noqa: A002
        self._asked["describe"] += 1
        return await super().describe_workflow(input)

    async def query_workflow(self, input: QueryWorkflowInput) -> Any:  # noqa: A002, ANN401 - as the SDK has it
        self._asked["query"] += 1
        return await super().query_workflow(input)

    async def signal_workflow(self, input: SignalWorkflowInput) -> None:  # noqa: A002
        self._asked["signal"] += 1
        await super().signal_workflow(input)


class _Counter(Interceptor):
    def __init__(self, asked: Counter[str]) -> None:
        self._asked = asked

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002
        return _Counting(next, self._asked)


def counted(system: System) -> tuple[System, Mapping[str, int]]:
    """The same system, and how often its workflows were described, queried and signalled from there."""
    asked: Counter[str] = Counter()
    config = system.client.config() | {"interceptors": [_Counter(asked)]}
    return replace(system, client=Client(**config)), asked
