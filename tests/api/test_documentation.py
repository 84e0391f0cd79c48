import re
from urllib.parse import urlsplit

import httpx2
import pytest

from api.guard import GuardedRoute
from api.routes import router
from tests.api.contract import Contract, examples, fits

PAGES = ("/docs", "/redoc")


@pytest.fixture
async def contract(http: httpx2.AsyncClient) -> Contract:
    return Contract((await http.get("/openapi.json")).json())


def addresses(page: str) -> set[str]:
    """Every address that a page makes a browser open."""
    in_markup = re.findall(r"""(?:src|href|spec-url)=["']([^"']+)["']""", page)
    in_script = re.findall(r"""\burl: *["']([^"']+)["']""", page)
    return set(in_markup + in_script)


@pytest.mark.parametrize("path", PAGES)
async def test_the_pages_need_nothing_from_another_host(http: httpx2.AsyncClient, path: str) -> None:
    page = await http.get(path)

    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "/openapi.json" in addresses(page.text)
    assert {urlsplit(address).netloc for address in addresses(page.text)} == {""}
    assert "//" not in page.text.replace("/*", "").split("<script>")[0]


@pytest.mark.parametrize("path", PAGES)
async def test_everything_that_the_pages_need_is_served(http: httpx2.AsyncClient, path: str) -> None:
    needed = addresses((await http.get(path)).text)

    found = {address: (await http.get(address)).status_code for address in needed}

    assert len(found) >= 3
    assert set(found.values()) == {200}


async def test_every_call_of_the_contract_is_documented_once(contract: Contract) -> None:
    documented = {
        (method.upper(), path) for path, calls in contract.document["paths"].items() for method in calls
    }

    assert {
        ("POST", "/orders/"),
        ("GET", "/orders/"),
        ("GET", "/orders/{order_id}"),
        ("DELETE", "/orders/{order_id}"),
        ("PUT", "/orders/{order_id}/status"),
        ("GET", "/orders/{order_id}/history"),
        ("GET", "/orders/{order_id}/explain"),
        ("GET", "/health"),
        ("GET", "/health/live"),
        ("GET", "/health/ready"),
    } == documented


async def test_every_answer_has_an_example(contract: Contract) -> None:
    assert [which for which, content in contract.contents() if not examples(content)] == []


async def test_every_example_is_written_as_its_schema_says(contract: Contract) -> None:
    checked = [
        (which, fits(content, example))
        for which, content in contract.contents()
        for example in examples(content)
    ]

    assert len(checked) >= 30
    assert [which for which, does_fit in checked if not does_fit] == []


async def test_every_problem_example_tells_its_own_status_and_address(contract: Contract) -> None:
    for which, content in contract.contents():
        method_path_status = which.split()
        for example in examples(content):
            if "code" in example:
                assert str(example["status"]) == method_path_status[2]
                assert example["type"] == f"urn:orders:problem:{example['code']}"
                assert re.fullmatch(
                    re.sub(r"\{\w+\}", "[0-9a-f-]{36}", method_path_status[1]), example["instance"]
                )


async def test_every_reference_in_the_document_leads_somewhere(http: httpx2.AsyncClient) -> None:
    text = (await http.get("/openapi.json")).text
    names = set(re.findall(r'"\$ref": *"#/components/schemas/(\w+)"', text))

    assert names - set((await http.get("/openapi.json")).json()["components"]["schemas"]) == set()


async def test_every_body_has_an_example_that_the_api_takes(
    http: httpx2.AsyncClient, contract: Contract
) -> None:
    schemas = contract.document["components"]["schemas"]

    placed = await http.post("/orders/", json=schemas["NewOrderBody"]["examples"][0])
    changed = await http.put(
        f"{placed.headers['Location']}/status", json=schemas["StatusBody"]["examples"][0]
    )

    assert (placed.status_code, changed.status_code) == (201, 200)


async def test_calls_have_names_summaries_and_descriptions(contract: Contract) -> None:
    calls = [call for calls in contract.document["paths"].values() for call in calls.values()]

    assert all(call["summary"] and call["description"] for call in calls)
    assert len({call["operationId"] for call in calls}) == len(calls)


def test_every_call_on_orders_reads_its_body_strictly() -> None:
    assert {type(route) for route in router.routes} == {GuardedRoute}
