"""One log for every process: JSON lines for machines, colour for people."""

import logging
import sys
from io import StringIO
from typing import TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger
from temporalio import activity, workflow

from settings import Settings


def configure_logs(settings: Settings, process: str) -> None:
    """Send every logger of this process to standard error, in the format and from the level set."""

    def name_process(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    # What the SDK adds to each message and event, we show once and shorter: see `_shorten_temporal`.
    workflow.logger.workflow_info_on_message = False
    activity.logger.activity_info_on_message = False

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        _shorten_temporal,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if settings.log_format == "json":
        finish: list[Processor] = [
            name_process,
            # Without the values of variables, which may be secrets.
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
            ),
            structlog.processors.JSONRenderer(),
        ]
    else:
        # Plain, because a workflow logs from its sandbox, where prettier ones may not import what they need.
        finish = [
            _make_visible,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=_visible_traceback),
        ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *finish],
        )
    )
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def _make_visible(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Escape what would begin a line, or reorder, hide or colour text; JSON escapes it by itself."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = visible(value)
    return event


def _visible_traceback(stream: TextIO, error: ExcInfo) -> None:
    plain = StringIO()
    structlog.dev.plain_traceback(plain, error)
    stream.write("\n".join(visible(line) for line in plain.getvalue().split("\n")))


def visible(text: str) -> str:
    """The text with everything in it that does not print escaped."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def _shorten_temporal(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Of what the SDK knows about a workflow or activity, keep what finds it in the Web UI."""
    event.pop("color_message", None)  # uvicorn's, the same words once more
    event.pop("temporal_log", None)  # an object of the SDK's core, which says nothing in print
    for source in ("temporal_workflow", "temporal_activity"):
        about = event.pop(source, None) or {}
        for name in ("workflow_id", "run_id", "activity_type", "attempt"):
            if name in about:
                event[name] = about[name]
    return event
