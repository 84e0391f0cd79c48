"""Every setting of every process, read once from the environment (and from `.env`).

`.env.example` gives each one's meaning, range and default. Temporal's own variables
(`TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, `TEMPORAL_API_KEY`, TLS, profiles) are read by
`temporalio.envconfig`, exactly as the `temporal` command reads them.
"""

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import parse_qs, urlsplit

from dotenv import load_dotenv
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

ROOT = Path(__file__).resolve().parent

Port = Annotated[int, Field(ge=1, le=65535)]


class ConfigurationError(Exception):
    """A setting has a value that cannot work; the message is one line and names the setting."""


_NOT_A_URL = "is not a database URL like postgresql://user:password@host:5432/orders"
_LAST_PORT = 65_535
_PARAMETERS = {"ssl", "sslmode", "host", "port", "passfile", "target_session_attrs", "channel_binding"}


def _asyncpg_url(value: str) -> str:
    """Accept the URL forms that people paste, and name the driver that we use."""
    try:
        url = make_url(value)
    except (ArgumentError, ValueError):
        # Not its own words, which repeat parts of the URL, and with them the password.
        raise ValueError(_NOT_A_URL) from None
    if url.port is not None and url.port > _LAST_PORT:
        raise ValueError(_NOT_A_URL)
    if url.get_backend_name() not in {"postgresql", "postgres"}:
        raise ValueError(f"must be a postgresql:// URL, not {url.get_backend_name()}://")
    if unknown := sorted(url.query.keys() - _PARAMETERS):
        raise ValueError(f"has a parameter that nobody understands here: {unknown[0]}")
    url = url.difference_update_query(["channel_binding"])  # libpq's too, and asyncpg has none
    if "sslmode" in url.query:
        # libpq's word, which every hosting service hands out; asyncpg's is `ssl`, with the same values.
        url = url.update_query_dict({"ssl": url.query["sslmode"]}).difference_update_query(["sslmode"])
    return url.set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)


DatabaseUrl = Annotated[str, AfterValidator(_asyncpg_url)]


_REDIS_PARAMETERS = {
    "redis": set[str](),
    "rediss": {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs"},
}


def _redis_url(value: str) -> str:
    """Accept what the client can connect to; it would say so only when the first request is counted."""
    try:
        url = urlsplit(value)
        is_one = url.scheme in _REDIS_PARAMETERS and bool(url.hostname) and url.port != 0
    except ValueError:
        is_one = False
    if not is_one:
        raise ValueError("is not a Redis URL like redis://host:6379/0")
    if unknown := sorted(parse_qs(url.query, keep_blank_values=True).keys() - _REDIS_PARAMETERS[url.scheme]):
        raise ValueError(f"has a parameter that nobody understands here: {unknown[0]}")
    return value


def _origins(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _origin(value: str) -> str:
    if value != "*" and not _ORIGIN.fullmatch(value):
        raise ValueError("must be origins such as https://shop.example, separated by commas")
    return value


_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]+)?")
MetricsAddress = Annotated[str, StringConstraints(pattern=r"^[0-9A-Fa-f.:\[\]]+:[0-9]{1,5}$")]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], BeforeValidator(_origins)]
RedisUrl = Annotated[str, AfterValidator(_redis_url)]


def _deployment(value: str) -> str:
    if not _DEPLOYMENT.fullmatch(value):
        raise ValueError("must be at most 100 letters, digits, _ and -, and begin with a letter or digit")
    return value


def _build_id(value: str) -> str:
    if not _BUILD_ID.fullmatch(value):
        raise ValueError("must be at most 100 letters, digits, ., _ and -, and begin with a letter or digit")
    return value


# Narrower than Temporal's own rules: a worker whose version the server does not accept polls for ever and is
# told nothing.
_DEPLOYMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_BUILD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
Deployment = Annotated[str, AfterValidator(_deployment)]
BuildId = Annotated[str, AfterValidator(_build_id)]


class Settings(BaseSettings):
    """What the environment says, checked. Durations are seconds."""

    model_config = SettingsConfigDict(
        env_prefix="ORDERS_", frozen=True, extra="ignore", env_ignore_empty=True
    )

    database_url: Annotated[DatabaseUrl | None, Field(validation_alias="DATABASE_URL")] = None
    database_pool_size: Annotated[int, Field(ge=1, le=200)] = 20
    database_pool_timeout: Annotated[float, Field(gt=0, le=60)] = 5.0
    database_statement_timeout: Annotated[float, Field(gt=0, le=600)] = 10.0

    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
        BeforeValidator(str.upper),
        Field(validation_alias="LOG_LEVEL"),
    ] = "INFO"
    log_format: Literal["console", "json"] = "console"

    api_host: str = "127.0.0.1"
    api_port: Port = 8000
    api_allow_anonymous: bool = False
    api_concurrency: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    api_drain: Annotated[float, Field(ge=0, le=600)] = 0.0
    cors_origins: Annotated[Origins | None, NoDecode] = None
    rate_limit: Annotated[int, Field(ge=1, le=100_000_000)] = 60_000
    rate_limit_redis_url: RedisUrl | None = None
    answer_deadline: Annotated[float, Field(ge=0.1, le=60)] = 5.0
    temporal_ui_url: str = "http://127.0.0.1:8233"

    promotion_interval: Annotated[float, Field(ge=1, le=86_400)] = 300.0
    promotion_page_size: Annotated[int, Field(ge=1, le=5_000)] = 500
    promotion_concurrency: Annotated[int, Field(ge=1, le=500)] = 20

    metrics_address: MetricsAddress | None = None
    worker_cached_workflows: Annotated[int, Field(ge=10, le=100_000)] = 1_000
    worker_shutdown_grace: Annotated[float, Field(ge=0, le=600)] = 10.0
    worker_deployment: Deployment | None = None
    worker_build_id: Annotated[BuildId | None, Field(validate_default=True)] = None

    data_dir: Path = ROOT / ".data"
    postgres_port: Port = 5433
    temporal_port: Port = 7233
    temporal_ui_port: Port = 8233

    @field_validator("worker_build_id")
    @classmethod
    def _is_of_a_deployment(cls, build_id: str | None, others: ValidationInfo) -> str | None:
        """Refuse half a version; a deployment that was refused itself is told first."""
        if "worker_deployment" in others.data and (build_id is None) != (
            others.data["worker_deployment"] is None
        ):
            raise ValueError("must be set together with ORDERS_WORKER_DEPLOYMENT, or neither")
        return build_id

    def require_database_url(self) -> str:
        """The SQLAlchemy URL of PostgreSQL, or a `ConfigurationError` that says what to set."""
        if self.database_url is None:
            raise ConfigurationError("DATABASE_URL is not set: point it at PostgreSQL, or run `orders dev`")
        return self.database_url


@cache
def load_settings() -> Settings:
    """Read the environment once for the whole process.

    Raises:
        ConfigurationError: a value is missing, malformed or out of range.
    """
    load_dotenv(ROOT / ".env")
    try:
        return Settings()
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = str(problem["loc"][0])
        variable = name if name.isupper() else f"ORDERS_{name.upper()}"
        reason = problem["msg"].removeprefix("Value error, ")
        raise ConfigurationError(f"{variable}: {reason[0].lower()}{reason[1:]}") from None
