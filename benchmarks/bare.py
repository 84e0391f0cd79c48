"""The floor of reads, Starlette, asyncpg and one statement an answer: `python -m benchmarks.bare --port P`.

It reads the product's tables, at DATABASE_URL, and checks nothing: no key, no limit, no parameter.
GET /orders/{id} answers what the tables hold of an order, GET /orders/ the same of the newest 50.
"""

import argparse
import asyncio
import json
import socket
import sys
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Any

import asyncpg
import uvicorn
from sqlalchemy import make_url
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

import process
from api.server import SignalledServer
from logs import configure_logs
from settings import ConfigurationError, Settings, load_settings

HOST = "127.0.0.1"

_ORDER = """
SELECT o.id, customer_id, status, currency, total_amount, version, created_at, updated_at,
    i.id AS item_id, product_id, quantity, unit_price
FROM orders o JOIN order_items i ON i.order_id = o.id
WHERE o.id = $1
ORDER BY position
"""
_NEWEST = """
SELECT o.id, customer_id, status, currency, total_amount, version, created_at, updated_at,
    i.id AS item_id, product_id, quantity, unit_price
FROM (SELECT * FROM orders ORDER BY created_at DESC, id DESC LIMIT 50) o
JOIN order_items i ON i.order_id = o.id
ORDER BY created_at DESC, o.id DESC, position
"""


async def serve_app(app: ASGIApp, listening: socket.socket, stop: asyncio.Event) -> None:
    """Serve until the event is set: on httptools and, as every process here, on uvloop; without a log."""
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
    )
    await SignalledServer(config).serve_until(stop, [listening])


def listen(port: int) -> socket.socket:
    """A socket that listens at the port; 0 is any that is free.

    Raises:
        ConfigurationError: the port cannot be had.
    """
    try:
        return socket.create_server((HOST, port), backlog=2_048)
    except (OSError, OverflowError) as error:
        raise ConfigurationError(f"--port {port}: {error}") from None


def say_serving(name: str, listening: socket.socket) -> None:
    """Tell whoever started this process that it takes requests, whatever the log's level."""
    sys.stdout.write(f"Serving {name} at http://{HOST}:{listening.getsockname()[1]}\n")
    sys.stdout.flush()


def create_app(pool: "asyncpg.Pool[Any]") -> Starlette:
    """The application on a pool of connections."""

    async def get_order(request: Request) -> Response:
        lines = await pool.fetch(_ORDER, request.path_params["order_id"])
        return _json(_order(lines)) if lines else Response(status_code=404)

    async def list_orders(_: Request) -> Response:
        rows = await pool.fetch(_NEWEST)
        return _json({"orders": [_order(list(lines)) for _, lines in groupby(rows, lambda row: row["id"])]})

    return Starlette(routes=[Route("/orders/", list_orders), Route("/orders/{order_id:uuid}", get_order)])


def _order(lines: Sequence[asyncpg.Record]) -> dict[str, Any]:
    first = lines[0]
    return {
        "id": first["id"],
        "customer_id": first["customer_id"],
        "status": first["status"],
        "currency": first["currency"],
        "total_amount": first["total_amount"],
        "items": [
            {
                "id": line["item_id"],
                "product_id": line["product_id"],
                "quantity": line["quantity"],
                "unit_price": line["unit_price"],
            }
            for line in lines
        ],
        "version": first["version"],
        "created_at": first["created_at"],
        "updated_at": first["updated_at"],
    }


def _json(content: object) -> Response:
    return Response(_encode(content), media_type="application/json")


def _in_json(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


_encode = json.JSONEncoder(default=_in_json, separators=(",", ":")).encode


async def connect_pool(settings: Settings) -> "asyncpg.Pool[Any]":
    """As many connections as the product may have, on a database that has its tables.

    Raises:
        ConfigurationError: it cannot be reached, or has not the tables.
    """
    url = make_url(settings.require_database_url())
    _, where = url.get_dialect()().create_connect_args(url)
    try:
        pool = await asyncpg.create_pool(
            **where,
            min_size=1,
            max_size=settings.database_pool_size,
            timeout=settings.database_pool_timeout,
            reset=_leave_as_it_is,
            # As database/engine.py has them.
            server_settings={"application_name": "bare", "jit": "off", "random_page_cost": "1.1"},
        )
        await pool.fetch(_NEWEST)
    except (OSError, asyncpg.PostgresError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ConfigurationError(f"DATABASE_URL: {reason}") from None
    return pool


async def _leave_as_it_is(_: object) -> None:
    """Spare the round trip that clears, after each use, what a connection may have set."""


async def serve(port: int) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    settings = load_settings()
    configure_logs(settings, process="bare")
    stop = process.stop_requested()
    listening = listen(port)
    async with await connect_pool(settings) as pool:
        say_serving("bare", listening)
        await serve_app(create_app(pool), listening, stop)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and the environment, and serve."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bare", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    process.run("bare", partial(serve, parser.parse_args(arguments).port))


if __name__ == "__main__":
    main()
