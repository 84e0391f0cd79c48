import io
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from datetime import UTC, datetime
from typing import Any, NoReturn

import pytest
import structlog
from temporalio import activity, workflow

from logs import configure_logs
from settings import Settings

logger = logging.getLogger("orders.tests")

Configure = Callable[..., io.StringIO]
Entry = Callable[[], dict[str, Any]]


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Configure]:
    """Configure this process's logs as those of a worker, until the test ends; where they are written."""
    level = logging.root.level
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(workflow.logger, "workflow_info_on_message", True)
    monkeypatch.setattr(activity.logger, "activity_info_on_message", True)

    def as_settings_say(**settings: str) -> io.StringIO:
        with redirect_stderr(io.StringIO()) as log:
            configure_logs(Settings.model_validate({"LOG_LEVEL": "INFO"} | settings), process="worker")
        return log

    yield as_settings_say
    logging.root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def entry(configure: Configure) -> Entry:
    """Read the one entry that was written for machines."""
    log = configure(log_format="json")

    def read() -> dict[str, Any]:
        (line,) = log.getvalue().splitlines()
        found: dict[str, Any] = json.loads(line)
        return found

    return read


def test_an_entry_for_machines_says_what_where_when_and_how_severe(entry: Entry) -> None:
    logger.warning("%s by %s", "SHIPPED", "carrier")

    found = entry()
    assert datetime.fromisoformat(found.pop("timestamp")).tzinfo is UTC
    assert found == {
        "event": "SHIPPED by carrier",
        "level": "warning",
        "logger": "orders.tests",
        "process": "worker",
    }


def test_a_line_break_in_a_message_does_not_begin_an_entry(entry: Entry) -> None:
    forged = 'paid\n{"event": "refunded", "level": "info"}\r\u2028end'

    logger.info(forged)

    assert entry()["event"] == forged


# Reorders, isolates, joins, hides, ends a line, deletes, colours; and no character at all.
DECEIVING = "\u202e\u2066\u200d\ufeff\U000e0041\u2028\x85\r\n\x08\x1b[31m\ud800"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_nothing_that_could_deceive_a_reader_is_written_as_it_is(
    configure: Configure, log_format: str
) -> None:
    log = configure(log_format=log_format)

    def fail() -> NoReturn:
        raise ValueError(DECEIVING.replace("\n", ""))

    try:
        fail()
    except ValueError:
        logger.exception("paid by %s", DECEIVING, extra={"by": DECEIVING, "of": [DECEIVING]})

    written = log.getvalue()
    assert all(line.isprintable() for line in written.split("\n"))
    assert written.count("\\u202e") >= 4


def test_a_person_reads_every_script(configure: Configure) -> None:
    log = configure(log_format="console")

    logger.info("Zoë \N{CJK UNIFIED IDEOGRAPH-8CB7} \N{PACKAGE}")

    assert "Zoë \N{CJK UNIFIED IDEOGRAPH-8CB7} \N{PACKAGE}" in log.getvalue()


def test_a_line_break_in_a_message_does_not_begin_a_line_for_a_person(configure: Configure) -> None:
    log = configure(log_format="console")

    logger.info("paid\nrefunded", extra={"by": "ann\nbob"})

    assert len(log.getvalue().splitlines()) == 1


def test_what_is_said_beside_the_message_is_part_of_the_entry(entry: Entry) -> None:
    logger.info("GET /orders/", extra={"status": 200, "milliseconds": 1.5})

    found = entry()
    assert (found["status"], found["milliseconds"]) == (200, 1.5)


def test_what_json_cannot_hold_does_not_cost_the_entry(entry: Entry) -> None:
    logger.info("odd", extra={"odd": object(), "lone": "\ud800"})

    assert entry()["event"] == "odd"


def test_of_what_the_sdk_knows_an_entry_keeps_what_finds_the_workflow(entry: Entry) -> None:
    about = {"workflow_id": "order-1", "run_id": "2", "attempt": 3, "namespace": "default"}

    logger.info("SHIPPED", extra={"temporal_workflow": about})

    found = entry()
    assert (found["workflow_id"], found["run_id"], found["attempt"]) == ("order-1", "2", 3)
    assert not {"namespace", "temporal_workflow"} & found.keys()


def test_the_record_that_the_sdks_core_adds_to_its_messages_is_left_out(entry: Entry) -> None:
    logger.warning("gRPC call retried", extra={"temporal_log": object()})

    assert "temporal_log" not in entry()


def test_an_error_is_part_of_its_entry_and_tells_no_secret_of_the_code_that_failed(entry: Entry) -> None:
    def connect(password: str) -> None:  # noqa: ARG001 - a local variable is what must not be told
        raise ConnectionError("refused")

    try:
        connect("hunter" + str(2))
    except ConnectionError:
        logger.exception("No database")

    found = entry()
    assert found["event"] == "No database"
    assert "ConnectionError" in str(found["exception"])
    assert "hunter2" not in str(found)


def test_structlogs_own_loggers_write_the_same_entries(entry: Entry) -> None:
    structlog.get_logger("orders").info("placed", items=2)

    found = entry()
    assert (found["event"], found["logger"], found["items"]) == ("placed", "orders", 2)


def test_what_is_less_severe_than_the_level_is_not_logged(configure: Configure) -> None:
    log = configure(LOG_LEVEL="ERROR")

    logger.warning("left out")
    logger.error("kept")

    (line,) = log.getvalue().splitlines()
    assert "kept" in line


def test_a_person_reads_the_same_without_the_json(configure: Configure) -> None:
    log = configure(log_format="console")

    logger.warning("Refused", extra={"workflow_id": "order-1"})

    (line,) = log.getvalue().splitlines()
    assert "[warning  ] Refused" in line
    assert "[orders.tests] workflow_id=order-1" in line
    assert "\x1b" not in line


def test_a_person_reads_an_error_as_python_shows_it(configure: Configure) -> None:
    log = configure(log_format="console")

    try:
        int("many")
    except ValueError:
        logger.exception("Lost")

    first, second, *_, last = log.getvalue().splitlines()
    assert "[error    ] Lost" in first
    assert second == "Traceback (most recent call last):"
    assert last == "ValueError: invalid literal for int() with base 10: 'many'"
