import json
from datetime import UTC, datetime
from typing import Any

from tests.processes import run_to_its_end

_MAIN = """
import logging
from logs import configure_logs
from settings import load_settings

configure_logs(load_settings(), process="worker")
logger = logging.getLogger("orders.tests")
"""


async def said(code: str, **environment: str) -> list[str]:
    """The log of a process that runs the code after it has configured its logs."""
    ended, log = await run_to_its_end("-c", _MAIN + code, **environment)
    assert ended == 0, log
    return log


async def entry(code: str, **environment: str) -> dict[str, Any]:
    """The one line that the process has logged for machines."""
    (line,) = await said(code, ORDERS_LOG_FORMAT="json", **environment)
    found: dict[str, Any] = json.loads(line)
    return found


async def test_an_entry_for_machines_says_what_where_when_and_how_severe() -> None:
    found = await entry("logger.warning('%s by %s', 'SHIPPED', 'carrier')")

    timestamp = datetime.fromisoformat(found.pop("timestamp"))
    assert found == {
        "event": "SHIPPED by carrier",
        "level": "warning",
        "logger": "orders.tests",
        "process": "worker",
    }
    assert timestamp.tzinfo is UTC


async def test_a_line_break_in_a_message_does_not_begin_an_entry() -> None:
    forged = 'paid\n{"event": "refunded", "level": "info"}\r\u2028end'

    assert (await entry(f"logger.info({forged!r})"))["event"] == forged


async def test_what_is_said_beside_the_message_is_part_of_the_entry() -> None:
    found = await entry("logger.info('GET /orders/', extra={'status': 200, 'milliseconds': 1.5})")

    assert (found["status"], found["milliseconds"]) == (200, 1.5)


async def test_what_json_cannot_hold_does_not_cost_the_entry() -> None:
    found = await entry("logger.info('odd', extra={'odd': object(), 'lone': chr(0xD800)})")

    assert found["event"] == "odd"


async def test_of_what_the_sdk_knows_an_entry_keeps_what_finds_the_workflow() -> None:
    about = {"workflow_id": "order-1", "run_id": "2", "attempt": 3, "namespace": "default"}

    found = await entry(f"logger.info('SHIPPED', extra={{'temporal_workflow': {about}}})")

    assert (found["workflow_id"], found["run_id"], found["attempt"]) == ("order-1", "2", 3)
    assert not {"namespace", "temporal_workflow"} & found.keys()


async def test_an_error_is_part_of_its_entry_and_tells_no_secret_of_the_code_that_failed() -> None:
    failing = """
def connect(password):
    raise ConnectionError("refused")

try:
    connect("hunter" + "2")
except ConnectionError:
    logger.exception("No database")
"""

    found = await entry(failing)

    assert found["event"] == "No database"
    assert "ConnectionError" in str(found["exception"])
    assert "hunter2" not in str(found)


async def test_structlogs_own_loggers_write_the_same_entries() -> None:
    found = await entry("import structlog; structlog.get_logger('orders').info('placed', items=2)")

    assert (found["event"], found["logger"], found["items"]) == ("placed", "orders", 2)


async def test_what_is_less_severe_than_the_level_is_not_logged() -> None:
    code = "logger.error('kept'); logger.warning('left out')"

    assert (await entry(code, LOG_LEVEL="ERROR"))["event"] == "kept"


async def test_a_person_reads_the_same_without_the_json() -> None:
    (line,) = await said("logger.warning('Refused', extra={'workflow_id': 'order-1'})")

    assert "[warning  ] Refused" in line
    assert "[orders.tests] workflow_id=order-1" in line
    assert "\x1b" not in line


async def test_a_person_reads_an_error_as_python_shows_it() -> None:
    log = await said("try: 1 / 0\nexcept ZeroDivisionError: logger.exception('Lost')")

    assert "[error    ] Lost" in log[0]
    assert log[1] == "Traceback (most recent call last):"
    assert log[-1] == "ZeroDivisionError: division by zero"
