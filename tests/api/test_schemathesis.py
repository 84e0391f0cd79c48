"""Every documented call, asked for all that the OpenAPI document allows and for what it does not.

`SCHEMATHESIS_EXAMPLES=500 scripts/test tests/api/test_schemathesis.py` asks at greater length.
"""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from embedded.child import free_port
from tests.api.callers import a_key
from tests.api.conftest import Json
from tests.conftest import Systems
from tests.processes import servers_of, started
from tests.system import System

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "10")
AN_HOUR = 3_600


@pytest.fixture(scope="module")
async def served(systems: Systems) -> AsyncIterator[System]:
    """A system with its workers, which no other test fills."""
    async with systems("hostile") as system, system.workers():
        yield system


def with_keys_required(document: Json) -> Json:
    """The document as it holds where there are keys: no call on orders goes without one."""
    for calls in document["paths"].values():
        for call in calls.values():
            if "security" in call:
                call["security"].remove({})
    return document


def with_a_name_for_what_is_foreseen(document: Json) -> Json:
    """The document in which the answer to a dry run has a name of its own, so that nobody looks for it."""
    schemas = document["components"]["schemas"]
    foreseen = document["paths"]["/orders/"]["post"]["responses"]["200"]["content"]["application/json"][
        "schema"
    ]
    schemas["Foreseen"] = schemas[foreseen["$ref"].rsplit("/", 1)[1]]
    foreseen["$ref"] = "#/components/schemas/Foreseen"
    return document


@pytest.mark.timeout(AN_HOUR)
async def test_every_call_answers_whatever_it_is_asked_as_the_document_says(
    served: System, tmp_path: Path
) -> None:
    key = await a_key(served)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = servers_of(served) | {"ORDERS_API_PORT": str(port), "ORDERS_LOG_FORMAT": "console"}
    async with started("-m", "api", **environment) as api:
        await api.until_said("running on")
        async with httpx2.AsyncClient(base_url=url) as http:
            document = (await http.get("/openapi.json")).json()
        asked = with_a_name_for_what_is_foreseen(with_keys_required(document))
        (tmp_path / "openapi.json").write_text(json.dumps(asked))
        schemathesis = started(
            *("-m", "schemathesis.cli", "--config-file", str(CONFIGURATION), "run"),
            *("--url", url, "--header", f"Authorization: {key.headers['Authorization']}"),
            *("--max-examples", EXAMPLES, str(tmp_path / "openapi.json")),
        )
        async with schemathesis as run:
            assert await run.child.wait() == 0
        assert [line for line in api.log if "[error" in line] == []
