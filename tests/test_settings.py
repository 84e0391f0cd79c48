import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from settings import ROOT, ConfigurationError, Settings, load_settings

# What each number may be: the lowest, the highest, and what is just too little and too much.
RANGES = {
    "ORDERS_DATABASE_POOL_SIZE": ("1", "200", "0", "201"),
    "ORDERS_DATABASE_POOL_TIMEOUT": ("0.001", "60", "0", "60.001"),
    "ORDERS_DATABASE_STATEMENT_TIMEOUT": ("0.001", "600", "0", "600.001"),
    "ORDERS_API_PORT": ("1", "65535", "0", "65536"),
    "ORDERS_API_CONCURRENCY": ("1", "100000", "0", "100001"),
    "ORDERS_API_DRAIN": ("0", "600", "-0.001", "600.001"),
    "ORDERS_RATE_LIMIT": ("1", "100000000", "0", "100000001"),
    "ORDERS_ANSWER_DEADLINE": ("0.1", "60", "0.099", "60.001"),
    "ORDERS_PROMOTION_INTERVAL": ("1", "86400", "0.999", "86400.001"),
    "ORDERS_PROMOTION_PAGE_SIZE": ("1", "5000", "0", "5001"),
    "ORDERS_PROMOTION_CONCURRENCY": ("1", "500", "0", "501"),
    "ORDERS_WORKER_CACHED_WORKFLOWS": ("10", "100000", "9", "100001"),
    "ORDERS_WORKER_SHUTDOWN_GRACE": ("0", "600", "-0.001", "600.001"),
    "ORDERS_POSTGRES_PORT": ("1", "65535", "0", "65536"),
    "ORDERS_TEMPORAL_PORT": ("1", "65535", "0", "65536"),
    "ORDERS_TEMPORAL_UI_PORT": ("1", "65535", "0", "65536"),
}
ALLOWED = [(name, value) for name, (lowest, highest, _, _) in RANGES.items() for value in (lowest, highest)]
FORBIDDEN = [(name, value) for name, (_, _, *beyond) in RANGES.items() for value in (*beyond, "nan", "many")]

OTHERS = {
    "DATABASE_URL",
    "LOG_LEVEL",
    "ORDERS_LOG_FORMAT",
    "ORDERS_API_HOST",
    "ORDERS_API_ALLOW_ANONYMOUS",
    "ORDERS_CORS_ORIGINS",
    "ORDERS_METRICS_ADDRESS",
    "ORDERS_RATE_LIMIT_REDIS_URL",
    "ORDERS_TEMPORAL_UI_URL",
    "ORDERS_DATA_DIR",
    "ORDERS_WORKER_DEPLOYMENT",
    "ORDERS_WORKER_BUILD_ID",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of `.env`, with none in it, in an environment without a variable."""
    monkeypatch.setattr("settings.ROOT", tmp_path)
    load_settings.cache_clear()
    with mock.patch.dict(os.environ, clear=True):
        yield tmp_path
    load_settings.cache_clear()


def load(**environment: str) -> Settings:
    """The settings of a process that starts with these variables."""
    os.environ.update(environment)
    return load_settings()


def refusal(**environment: str) -> str:
    """What a process with these variables says instead of starting."""
    with pytest.raises(ConfigurationError) as refused:
        load(**environment)
    return str(refused.value)


def field(variable: str) -> str:
    return variable.removeprefix("ORDERS_").lower()


def test_this_page_knows_every_setting() -> None:
    assert {field(variable) for variable in RANGES.keys() | OTHERS} == set(Settings.model_fields)


def test_without_a_variable_every_setting_but_the_database_has_a_value() -> None:
    assert load().model_dump() == {
        "database_url": None,
        "database_pool_size": 20,
        "database_pool_timeout": 5,
        "database_statement_timeout": 10,
        "log_level": "INFO",
        "log_format": "console",
        "api_host": "127.0.0.1",
        "api_port": 8000,
        "api_allow_anonymous": False,
        "api_concurrency": 1000,
        "api_drain": 0,
        "cors_origins": None,
        "rate_limit": 60_000,
        "rate_limit_redis_url": None,
        "answer_deadline": 5,
        "temporal_ui_url": "http://127.0.0.1:8233",
        "promotion_interval": 300,
        "promotion_page_size": 500,
        "promotion_concurrency": 20,
        "metrics_address": None,
        "worker_cached_workflows": 1000,
        "worker_shutdown_grace": 10,
        "worker_deployment": None,
        "worker_build_id": None,
        "data_dir": ROOT / ".data",
        "postgres_port": 5433,
        "temporal_port": 7233,
        "temporal_ui_port": 8233,
    }


@pytest.mark.parametrize(("variable", "value"), ALLOWED)
def test_a_number_may_be_as_low_and_as_high_as_documented(variable: str, value: str) -> None:
    assert getattr(load(**{variable: value}), field(variable)) == float(value)


@pytest.mark.parametrize(("variable", "value"), FORBIDDEN)
def test_a_number_beyond_its_range_is_refused_in_one_line_that_names_it(variable: str, value: str) -> None:
    message = refusal(**{variable: value})

    assert message.startswith(f"{variable}: input should be ")
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(("variable", "value"), [("LOG_LEVEL", "LOUD"), ("ORDERS_LOG_FORMAT", "xml")])
def test_a_word_that_is_none_of_the_choices_is_refused_with_them(variable: str, value: str) -> None:
    message = refusal(**{variable: value})

    assert message.startswith(f"{variable}: input should be '")
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("level", ["WARNING", "warning", "Warning"])
def test_a_log_level_is_understood_in_any_case(level: str) -> None:
    assert load(LOG_LEVEL=level).log_level == "WARNING"


@pytest.mark.parametrize("variable", sorted(RANGES.keys() | OTHERS))
def test_an_empty_variable_is_one_that_is_not_set(variable: str) -> None:
    unset = load()
    load_settings.cache_clear()

    assert load(**{variable: ""}) == unset


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg"])
def test_every_form_of_a_postgresql_url_is_understood(scheme: str) -> None:
    settings = load(DATABASE_URL=f"{scheme}://orders:p%40ss@db:5432/orders")

    assert settings.require_database_url() == "postgresql+asyncpg://orders:p%40ss@db:5432/orders"


@pytest.mark.parametrize(
    "url",
    [
        "mysql://orders:hunter2@db/orders",
        "sqlite:///hunter2.db",
        "hunter2",
        "jdbc:postgresql://orders:hunter2@db/orders",
        "postgresql://orders:hunter2@db:hunter2/orders",
        # A password with characters that belong into a URL only as %40 and %3A.
        "postgresql://orders:p@ss:hunter2@db/orders",
        "postgresql://orders:hunter2@db:99999/orders",
    ],
)
def test_what_is_no_postgresql_url_is_refused_in_one_line_without_a_secret(url: str) -> None:
    message = refusal(DATABASE_URL=url)

    assert message.startswith("DATABASE_URL: ")
    assert len(message.splitlines()) == 1
    assert "hunter2" not in message


def test_a_worker_version_is_a_deployment_and_a_build() -> None:
    settings = load(ORDERS_WORKER_DEPLOYMENT="orders-2", ORDERS_WORKER_BUILD_ID="v1.4.0_rc-1")

    assert (settings.worker_deployment, settings.worker_build_id) == ("orders-2", "v1.4.0_rc-1")


@pytest.mark.parametrize("half", ["ORDERS_WORKER_DEPLOYMENT", "ORDERS_WORKER_BUILD_ID"])
def test_half_a_worker_version_is_refused_in_one_line_that_names_both(half: str) -> None:
    assert refusal(**{half: "orders"}) == (
        "ORDERS_WORKER_BUILD_ID: must be set together with ORDERS_WORKER_DEPLOYMENT, or neither"
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        # Temporal accepts none of the first three, and tells the worker nothing.
        ("ORDERS_WORKER_DEPLOYMENT", "orders.eu"),
        ("ORDERS_WORKER_DEPLOYMENT", "orders:eu"),
        ("ORDERS_WORKER_DEPLOYMENT", "__orders"),
        ("ORDERS_WORKER_DEPLOYMENT", "two words"),
        ("ORDERS_WORKER_DEPLOYMENT", "x" * 101),
        ("ORDERS_WORKER_BUILD_ID", "feature/x"),
        ("ORDERS_WORKER_BUILD_ID", "-1"),
        ("ORDERS_WORKER_BUILD_ID", "x" * 101),
    ],
)
def test_a_worker_version_that_temporal_could_not_show_is_refused(variable: str, value: str) -> None:
    version = {"ORDERS_WORKER_DEPLOYMENT": "orders", "ORDERS_WORKER_BUILD_ID": "1"}

    message = refusal(**version | {variable: value})

    assert message.startswith(f"{variable}: must be at most 100 letters, digits, ")
    assert len(message.splitlines()) == 1


def test_a_missing_database_is_told_when_it_is_needed() -> None:
    with pytest.raises(ConfigurationError, match=r"^DATABASE_URL is not set: [^\n]+$"):
        load().require_database_url()


def test_a_dotenv_file_is_read(folder: Path) -> None:
    (folder / ".env").write_text("LOG_LEVEL=ERROR\nORDERS_API_PORT=9000\n", encoding="utf-8")

    settings = load()

    assert (settings.log_level, settings.api_port) == ("ERROR", 9000)


def test_the_environment_wins_over_the_dotenv_file(folder: Path) -> None:
    (folder / ".env").write_text("LOG_LEVEL=ERROR\nORDERS_API_PORT=9000\n", encoding="utf-8")

    settings = load(ORDERS_API_PORT="9001")

    assert (settings.log_level, settings.api_port) == ("ERROR", 9001)


def test_a_wrong_value_in_a_dotenv_file_is_refused_like_any_other(folder: Path) -> None:
    (folder / ".env").write_text("ORDERS_API_PORT=many\n", encoding="utf-8")

    assert refusal().startswith("ORDERS_API_PORT: ")


def test_settings_are_read_once() -> None:
    first = load(LOG_LEVEL="ERROR")

    assert load(LOG_LEVEL="DEBUG") is first
