"""The API's own OpenAPI document, as the judge of its answers."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
from pydantic import ValidationError

from api import schemas

PROBLEM = "application/problem+json"
JSON_TYPES = {"application/json", PROBLEM}


@dataclass(frozen=True)
class Contract:
    """What the document promises."""

    document: dict[str, Any]

    async def check(self, response: httpx2.Response) -> None:
        """Fail where a documented call answers with an undocumented status, media type, shape or code."""
        responses = self._responses(response.request)
        if responses is None:
            return
        await response.aread()
        assert str(response.status_code) in responses, f"undocumented: {response.status_code} {response.text}"
        if "content" not in responses[str(response.status_code)]:
            assert response.content == b""
            return
        media_type = response.headers["Content-Type"]
        content = responses[str(response.status_code)]["content"][media_type]
        body = response.json()
        assert fits(content, body)
        if media_type == PROBLEM:
            assert body["code"] in {example["code"] for example in examples(content)}

    def contents(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every documented answer: which one it is, and its content."""
        for path, calls in self.document["paths"].items():
            for method, call in calls.items():
                for status, response in call["responses"].items():
                    for media_type, content in response.get("content", {}).items():
                        assert media_type in JSON_TYPES
                        yield f"{method.upper()} {path} {status}", content

    def _responses(self, request: httpx2.Request) -> dict[str, Any] | None:
        for path, calls in self.document["paths"].items():
            pattern = re.sub(r"\{\w+\}", "[^/]+", path.rstrip("/")) + "/?"
            if re.fullmatch(pattern, request.url.path) and request.method.lower() in calls:
                responses: dict[str, Any] = calls[request.method.lower()]["responses"]
                return responses
        return None


def examples(content: dict[str, Any]) -> list[dict[str, Any]]:
    """The examples of an answer."""
    several = [example["value"] for example in content.get("examples", {}).values()]
    return several + ([content["example"]] if "example" in content else [])


def fits(content: dict[str, Any], value: dict[str, Any]) -> bool:
    """Whether a JSON value is written exactly as the schema of the content writes it."""
    model = getattr(schemas, content["schema"]["$ref"].removeprefix("#/components/schemas/"))
    try:
        written = model.model_validate(value).model_dump(mode="json", exclude_unset=True)
    except ValidationError:
        return False
    return bool(written == value)


def assert_careful_with_browsers(headers: Mapping[str, str]) -> None:
    """That an answer which is no page tells a browser to guess, frame, send and keep nothing."""
    named = {name.lower(): value for name, value in headers.items()}
    assert named["x-content-type-options"] == "nosniff"
    assert named["x-frame-options"] == "DENY"
    assert named["referrer-policy"] == "no-referrer"
    assert named["cross-origin-resource-policy"] == "same-origin"
    assert named["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert named["cache-control"] == "private, no-cache"
    assert named["x-request-id"]
