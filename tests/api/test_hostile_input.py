"""What nobody sends by mistake: it is refused in few words, repeats nothing, and changes nothing.

What is merely wrong is asked in `test_bodies`, `test_placing`, `test_changing` and `test_listing`.
"""

import gzip
import io
import json
import logging
import zlib
from contextlib import redirect_stderr
from urllib.parse import unquote
from uuid import UUID, uuid4

import httpx2
import pytest
import structlog
from starlette.types import Receive, Scope, Send
from temporalio.service import RPCError

from api.app import create_app
from logs import configure_logs
from orders.names import idempotent_order_id
from settings import Settings
from tests.api.conftest import Json, a_body, an_item, history, place, put, read
from tests.system import System, eventually

AS_JSON = {"Content-Type": "application/json"}
MARK = "hunter2"
ORDER = "0190c7b2-6f00-7abc-8def-000000000001"


def with_raw(member: str, text: str) -> str:
    """An order of one line with a member of it as the text writes it."""
    members = {"product_id": f'"{MARK}"', "quantity": "2", "unit_price": '"25.50"', member: text}
    item = ", ".join(f'"{name}": {value}' for name, value in members.items())
    return f'{{"customer_id": "{MARK}", "items": [{{{item}}}]}}'


NUMBERS = [
    *("NaN", "Infinity", "-Infinity", "1e400", "1e1000000", "1e-1000000", "1E99999999999999999999"),
    *("9" * 4_000, "-" + "9" * 4_000, "0." + "1" * 4_000, "0x10", "1_000", "01", "+1", ".5", "1."),
    *("-1", "0", "-0", "-0.0", "true", "false", "null", "[]", "{}", '""', '" 1"', '"NaN"', '"1e3"', '"٣"'),
    *('"0x10"', '"1_0"', '"-25.50"', '"0.00"', f'"{"9" * 4_000}"', f'"0.{"0" * 4_000}1"'),
]
QUANTITIES = ["1.5", "1e-1", '"2"', "1000001", "2e6"]
PRICES = ["0.001", '"25.505"', "1e-7", "0.1e-1000"]


# What a refusal may say by itself.
WORDS = {"Infinity", "-Infinity", "false"}


async def assert_refused(
    http: httpx2.AsyncClient,
    system: System,
    body: str | bytes,
    headers: dict[str, str] | None = None,
    *,
    hostile: str = MARK,
) -> httpx2.Response:
    """That an order is refused briefly, without a word of what is hostile, and that nobody has it."""
    key = str(uuid4())
    content = body.encode() if isinstance(body, str) else body
    headers = {"Idempotency-Key": key} | (AS_JSON if headers is None else headers)
    response = await http.post("/orders/", content=content, headers=headers)

    order_id = idempotent_order_id("api", key)
    assert response.status_code in {400, 413, 415, 422}, response.text
    assert len(response.content) < 20_000
    assert MARK not in response.text
    # A few characters of it, as of every long value, would be too many; fewer stand in any answer.
    if len(hostile) >= 4 and hostile not in WORDS:
        assert hostile[:64] not in response.json()["detail"] + json.dumps(response.json().get("errors", []))
    assert (await http.get(f"/orders/{order_id}")).status_code == 404
    with pytest.raises(RPCError, match="not found"):
        await system.handle(order_id).describe()
    return response


@pytest.mark.parametrize("number", [*NUMBERS, *QUANTITIES], ids=lambda text: text[:20])
async def test_no_quantity_but_a_whole_number_is_taken(
    http: httpx2.AsyncClient, system: System, number: str
) -> None:
    await assert_refused(http, system, with_raw("quantity", number), hostile=number)


@pytest.mark.parametrize("number", [*NUMBERS, *PRICES], ids=lambda text: text[:20])
async def test_no_price_but_an_amount_of_money_is_taken(
    http: httpx2.AsyncClient, system: System, number: str
) -> None:
    await assert_refused(http, system, with_raw("unit_price", number), hostile=number)


@pytest.mark.parametrize(("currency", "price"), [("JPY", "0.5"), ("KWD", "1.0005"), ("CLF", "0.00001")])
async def test_no_price_has_more_decimals_than_its_currency(
    http: httpx2.AsyncClient, system: System, currency: str, price: str
) -> None:
    body = a_body(customer_id=MARK, currency=currency, items=[an_item(unit_price=price)])

    await assert_refused(http, system, json.dumps(body))


@pytest.mark.parametrize("lines", [1, 500])
async def test_no_total_overflows(http: httpx2.AsyncClient, system: System, lines: int) -> None:
    items = [an_item(unit_price="1000000000.00", quantity=1_000_000)] * lines

    response = await assert_refused(http, system, json.dumps(a_body(items=items)))

    assert response.json()["code"] == "limit_exceeded"


@pytest.mark.parametrize("member", ["customer_id", "product_id", "currency"])
@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "\u00a0\u3000",
            f"{MARK}\0",
            "\0",
            f"{MARK}\r\nSet-Cookie: a=b",
            "\x1b[2J",
            "\x7f",
            "\x85",
        ),
        *("\u2028", "\u2029", "\ud800", f"{MARK}\udfff", "x" * 1_000_000),
    ],
    ids=lambda text: ascii(text[:10]),
)
async def test_no_name_holds_what_a_store_or_a_log_cannot(
    http: httpx2.AsyncClient, system: System, member: str, text: str
) -> None:
    body = a_body(items=[an_item(product_id=text)]) if member == "product_id" else a_body(**{member: text})

    await assert_refused(http, system, json.dumps(body), hostile=text)


@pytest.mark.parametrize(
    "body",
    [
        "[" * 10_000 + "]" * 10_000,
        '{"customer_id": ' * 10_000 + "1" + "}" * 10_000,
        f'{{"customer_id": "{MARK}", "items": ' + "[" * 10_000 + "]" * 10_000 + "}",
        json.dumps(a_body(items=[an_item()] * 10_000)),
        json.dumps(a_body(**{f"key-{number}": MARK for number in range(10_000)})),
        json.dumps(a_body(__proto__={"admin": True}, constructor=MARK)),
        json.dumps(a_body(id=str(uuid4()), status="DELIVERED", version=9)),
        '{"customer_id": "hunter2", ' + json.dumps(a_body())[1:],
        '{"\\u0069tems": [], ' + json.dumps(a_body())[1:],
        "\ufeff" + json.dumps(a_body()),
        json.dumps(a_body()).encode("utf-16"),
        json.dumps(a_body()).encode("utf-16-le"),
        json.dumps(a_body()).encode("utf-32"),
        json.dumps(a_body(), ensure_ascii=False).encode() + b"\xff",
        b'{"customer_id": "\xc0\xaf", "items": []}',
        b'{"customer_id": "\xed\xa0\x80", "items": []}',
        b"\x00" * 1_000,
        json.dumps(a_body()) + "\0",
        "/* */" + json.dumps(a_body()),
        json.dumps([a_body()]),
    ],
    ids=lambda body: ascii(body[:24]),
)
async def test_no_json_but_an_order_is_taken(
    http: httpx2.AsyncClient, system: System, body: str | bytes
) -> None:
    await assert_refused(http, system, body)


BOMB = b" " * (50 * 1024 * 1024)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(BOMB)),
        ("GZIP", gzip.compress(json.dumps(a_body()).encode())),
        ("deflate", zlib.compress(BOMB)),
        ("br", b"\x0b\x00\x80\x03"),
        ("identity, gzip", gzip.compress(BOMB)),
        ("x-gzip", gzip.compress(BOMB)),
    ],
    ids=["bomb", "capitals", "deflate", "brotli", "list", "alias"],
)
async def test_no_body_is_inflated(
    http: httpx2.AsyncClient, system: System, encoding: str, body: bytes
) -> None:
    response = await assert_refused(http, system, body, AS_JSON | {"Content-Encoding": encoding})

    assert (response.status_code, response.json()["code"]) == (415, "unsupported_body")
    assert response.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    "media_type",
    [
        *("", "text/json", "application/jsonp", "application/json, text/plain", "application/json;"),
        *("application/json; charset=utf-16", "application/json; charset=latin-1", "multipart/form-data"),
        *("application/json; charset=utf-8; charset=utf-16", "application/json\t; boundary=x", "json"),
    ],
)
async def test_no_body_is_read_as_what_it_does_not_say_it_is(
    http: httpx2.AsyncClient, system: System, media_type: str
) -> None:
    body = json.dumps(a_body(customer_id=MARK))

    response = await assert_refused(http, system, body, {"Content-Type": media_type})

    assert (response.status_code, response.headers["Accept"]) == (415, "application/json")


@pytest.mark.parametrize(
    "headers",
    [
        AS_JSON | {"Content-Encoding": "gzip"},
        AS_JSON | {"Content-Encoding": "GZIP"},
        AS_JSON | {"Content-Encoding": "identity, gzip"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "TEXT/JSON"},
        {"Content-Type": "application/json; charset=utf-16"},
        {},
    ],
    ids=str,
)
async def test_no_change_is_read_from_what_is_not_plain_json(
    http: httpx2.AsyncClient, headers: dict[str, str]
) -> None:
    order = await place(http)
    body = json.dumps({"status": "PROCESSING"}).encode()
    content = gzip.compress(body) if "Content-Encoding" in headers else body

    response = await http.put(f"/orders/{order['id']}/status", content=content, headers=headers)

    assert (response.status_code, response.json()["code"]) == (415, "unsupported_body")
    assert await read(http, order) == order


@pytest.mark.parametrize("media_type", ["APPLICATION/JSON", "Application/Merge-Patch+JSON; Charset=UTF-8"])
async def test_a_type_is_known_however_it_is_written(http: httpx2.AsyncClient, media_type: str) -> None:
    order = await place(http)
    body = json.dumps({"status": "PROCESSING"}).encode()

    response = await http.put(
        f"/orders/{order['id']}/status", content=body, headers={"Content-Type": media_type}
    )

    assert response.status_code == 200


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Content-Type", ("application/json", "text/plain")),
        ("Content-Type", ("text/plain", "application/json")),
        ("Content-Encoding", ("identity", "gzip")),
        ("Content-Encoding", ("gzip", "identity")),
    ],
)
async def test_no_line_of_a_repeated_field_is_overlooked(
    http: httpx2.AsyncClient, name: str, values: tuple[str, ...]
) -> None:
    others = [] if name == "Content-Type" else [("Content-Type", "application/json")]
    headers = [*others, *((name, value) for value in values)]

    response = await http.post("/orders/", content=json.dumps(a_body()).encode(), headers=headers)

    assert (response.status_code, response.json()["code"]) == (415, "unsupported_body")


@pytest.mark.parametrize(
    "media_type", ['application/json; charset="UTF-8"', "Application/JSON;charset=utf-8"]
)
async def test_json_may_say_that_it_is_utf_8(http: httpx2.AsyncClient, media_type: str) -> None:
    body = json.dumps(a_body()).encode()

    assert (
        await http.post("/orders/", content=body, headers={"Content-Type": media_type})
    ).status_code == 201


# Where.


@pytest.mark.parametrize("path", ["/orders/{}", "/orders/{}/history", "/orders/{}/explain"])
@pytest.mark.parametrize(
    "order_id",
    [
        f"urn:uuid:{ORDER}",
        f"{{{ORDER}}}",
        f"%7B{ORDER}%7D",
        ORDER.upper(),
        ORDER.replace("-", ""),
        f"{ORDER}%20",
        f"%20{ORDER}",
        f"{ORDER}%0A",
        f"{ORDER}%00",
        ORDER.replace("0", "\N{ARABIC-INDIC DIGIT ZERO}"),
        ORDER.replace("0", "\uff10"),
        f"{ORDER};x=1",
        "1' OR '1'='1",
        "9" * 60_000,
    ],
    ids=lambda order_id: ascii(order_id[:50]),
)
async def test_an_order_has_one_address(http: httpx2.AsyncClient, path: str, order_id: str) -> None:
    response = await http.get(path.format(order_id))

    assert response.status_code == 422
    assert [error["place"] for error in response.json()["errors"]] == ["path.order_id"]


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_no_order_is_changed_at_another_address(http: httpx2.AsyncClient, method: str) -> None:
    order = await place(http)
    tail, body = ("/status", {"status": "PROCESSING"}) if method == "PUT" else ("", None)

    response = await http.request(method, f"/orders/urn:uuid:{order['id']}{tail}", json=body)

    assert response.status_code == 422
    assert await read(http, order) == order


@pytest.mark.parametrize(
    "target",
    [
        *("/orders/../health", "/orders/%2e%2e/health", "/orders/..%2fhealth", "/orders//", "//orders/"),
        *("/orders/./", "/orders/%2e/", "/static-offline-docs/../settings.py", "/ORDERS/", "/orders/;"),
        *("/static-offline-docs/%2e%2e/%2e%2e/settings.py", "/static-offline-docs/..%2f..%2fsettings.py"),
        *("/static-offline-docs//etc/passwd", "/static-offline-docs/%00", "/..%5c..%5csettings.py"),
        f"/orders/{ORDER}/../{ORDER}",
    ],
)
async def test_a_path_is_taken_as_it_is(system: System, target: str) -> None:
    app = create_app(system.settings, system.client, system.engine)

    async def asked_for_target(scope: Scope, receive: Receive, send: Send) -> None:
        """A client would tidy the path up before it sends it."""
        await app({**scope, "path": unquote(target), "raw_path": target.encode()}, receive, send)

    transport = httpx2.ASGITransport(app=asked_for_target, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http,
    ):
        response = await http.get("/")

    assert response.status_code in {404, 405, 422}
    assert "class Settings" not in response.text
    assert "healthy" not in response.text


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "A" * 1_000])
async def test_a_method_that_nobody_has_is_refused(http: httpx2.AsyncClient, method: str) -> None:
    assert (await http.request(method, "/orders/")).status_code == 405


# Headers.


async def test_many_and_long_fields_cost_nothing_but_their_reading(http: httpx2.AsyncClient) -> None:
    many = [(f"X-{number}", "1") for number in range(1_000)]
    long = [("X-Long", "x" * 100_000), ("Cookie", "a=b; " * 10_000)]

    assert (await http.get("/orders/", headers=many + long)).status_code == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Idempotency-Key", ""),
        ("Idempotency-Key", "x" * 256),
        ("Idempotency-Key", "two words"),
        ("Idempotency-Key", "\xff"),
        ("Idempotency-Key", "naïve"),
    ],
)
async def test_a_key_that_could_not_be_compared_is_refused(
    http: httpx2.AsyncClient, name: str, value: str
) -> None:
    response = await http.post("/orders/", json=a_body(), headers=[(name.encode(), value.encode())])

    assert response.status_code == 422
    assert [error["place"] for error in response.json()["errors"]] == [f"header.{name}"]


@pytest.mark.parametrize("value", ["2", "W/'1'", '"-1"', '"1e0"', '"٣"', "\xff", f'"{"9" * 200}"', "x" * 255])
async def test_a_tag_of_no_version_matches_none(http: httpx2.AsyncClient, value: str) -> None:
    order = await place(http)

    response = await http.delete(f"/orders/{order['id']}", headers=[(b"If-Match", value.encode())])

    assert response.status_code == 412
    assert await read(http, order) == order


@pytest.mark.parametrize(
    "value", [b"a\r\nX-Evil: 1", b"a\nb", b"a\x00b", b"x" * 100_000, b"\x1b[31m", "\u202e".encode(), b"a b"]
)
async def test_a_request_id_splits_no_answer(http: httpx2.AsyncClient, value: bytes) -> None:
    response = await http.get("/orders/", headers=[(b"X-Request-ID", value)])

    assert response.status_code == 200
    assert UUID(response.headers["X-Request-ID"])
    assert "X-Evil" not in response.headers


# Texts that are harmless here and dangerous elsewhere.

TEXTS = [
    "'; DROP TABLE orders; --",
    "1 OR 1=1",
    "%' _ \\",
    "$1 :name {braces} %s ${jndi:ldap://x}",
    "<script>alert(1)</script>",
    "=HYPERLINK(1)",
    "\u202e\u2066reversed\u2069",
    "\ufeffhidden\u200d\u00ad",
    "e\u0301 is not \u00e9",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
]


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
async def test_a_text_is_kept_and_found_to_the_letter(http: httpx2.AsyncClient, text: str) -> None:
    customer = f"{text}{uuid4()}"
    order = await place(http, customer_id=customer, items=[an_item(product_id=text)])
    moved = await put(http, order, "PROCESSING", changed_by=text, reason=text)

    found = (await http.get("/orders/", params={"customer_id": customer})).json()["orders"]
    like = (await http.get("/orders/", params={"customer_id": f"%{customer[-36:]}"})).json()["orders"]
    told = (await history(http, order["id"]))[-1]

    assert found == [moved.json()]
    assert like == []
    assert (found[0]["customer_id"], found[0]["items"][0]["product_id"]) == (customer, text)
    assert (told["changed_by"], told["reason"]) == (text, text)


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_no_text_of_a_signal_reaches_a_log_as_it_is(
    http: httpx2.AsyncClient, system: System, monkeypatch: pytest.MonkeyPatch, log_format: str
) -> None:
    order = await place(http)
    monkeypatch.setattr(logging.root, "handlers", [])
    with redirect_stderr(io.StringIO()) as log:
        configure_logs(Settings.model_validate({"log_format": log_format, "LOG_LEVEL": "INFO"}), "worker")
    try:
        deceiving = "\u202e\u2066ann\x1b[31m"
        signal: Json = {"status": "PROCESSING", "changed_by": "\u202e\u2066ann"}
        await system.handle(order["id"]).signal(f"no such {deceiving}\n")
        await system.handle(order["id"]).signal("update_status", signal | {"status": deceiving})
        await system.handle(order["id"]).signal("update_status", signal)

        async def is_moved() -> bool:
            return bool((await read(http, order))["status"] == "PROCESSING")

        await eventually(is_moved)
    finally:
        structlog.reset_defaults()

    assert (await history(http, order["id"]))[-1]["changed_by"] == "\u202e\u2066ann"
    written = log.getvalue()
    assert order["id"] in written
    assert "\\u202e" in written
    assert all(line.isprintable() for line in written.split("\n"))
