"""Bringing the database's schema up to date."""

from alembic import command
from alembic.config import Config

from settings import ROOT


def migrate(url: str) -> None:
    """Apply every migration that the database has not had; safe to run at once from many places.

    `url` is the SQLAlchemy form, as `Settings.database_url` has it.
    """
    command.upgrade(alembic_config(url), "head")


def alembic_config(url: str) -> Config:
    """Alembic's configuration from pyproject.toml, for the database at the URL."""
    config = Config(toml_file=ROOT / "pyproject.toml")
    config.attributes["url"] = url
    return config
