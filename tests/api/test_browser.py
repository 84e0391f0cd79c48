import asyncio
import shutil
from collections.abc import AsyncIterator
from tempfile import TemporaryDirectory

import pytest
import uvicorn

from api.app import create_app
from embedded.child import free_port
from tests.system import System, eventually

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

# A browser is a system's package, which no requirements file of ours can install; .ci/run does.
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no browser: install one (Debian and Ubuntu: apt install chromium)"
)


@pytest.fixture(scope="module")
async def address(system: System) -> AsyncIterator[str]:
    """The API, served on a port."""
    app = create_app(system.settings, system.client, system.engine)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve())

    async def has_started() -> bool:
        return server.started

    await eventually(has_started)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    await serving


async def rendered(url: str) -> str:
    """The page as a browser shows it that can reach nothing but this machine."""
    with TemporaryDirectory() as profile:
        browser = await asyncio.create_subprocess_exec(
            str(CHROMIUM),
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            f"--user-data-dir={profile}",
            "--virtual-time-budget=10000",
            "--dump-dom",
            url,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        output, _ = await asyncio.wait_for(browser.communicate(), 60)
        return output.decode()


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_the_documentation_shows_every_call_without_the_internet(address: str, page: str) -> None:
    shown = await rendered(f"{address}{page}")

    for call in ("Place an order", "List orders", "Change an order's status", "Cancel an order"):
        assert call in shown
