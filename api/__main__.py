"""The API process: `python -m api`."""

import uvicorn

import process
from api.app import create_app
from connection import connect
from database.engine import create_engine
from logs import configure_logs
from settings import load_settings


async def _main() -> None:
    settings = load_settings()
    configure_logs(settings, process="api")
    engine = create_engine(settings, application_name="api")
    # Lazy, so that reads are served from PostgreSQL while Temporal is away.
    client = await connect(lazy=True)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(settings, client, engine),
            host=settings.api_host,
            port=settings.api_port,
            log_config=None,
            access_log=False,
            server_header=False,
        )
    )
    await server.serve()


process.run("api", _main)
