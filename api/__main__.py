"""The API process: `python -m api`."""

import process
from api.app import create_app
from api.keys import refuse_exposure
from api.server import Server, allow_many_connections
from connection import connect
from database.engine import create_engine
from logs import configure_logs
from settings import load_settings


async def _main() -> None:
    settings = load_settings()
    configure_logs(settings, process="api")
    allow_many_connections()
    engine = create_engine(settings, application_name="api")
    try:
        await refuse_exposure(settings, engine)
        # Lazy, so that reads are served from PostgreSQL while Temporal is away.
        client = await connect(lazy=True)
        await Server(create_app(settings, client, engine), settings).serve_until(process.stop_requested())
    finally:
        await engine.dispose()


process.run("api", _main)
