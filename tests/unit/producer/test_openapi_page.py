"""The OpenAPI page tells every answer, body and error, with examples."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from producer.api.app import create_app
from producer.bootstrap import ProducerContext
from shared.settings import Settings


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    settings = Settings(_env_file=None, home=tmp_path_factory.mktemp("home"))
    context = SimpleNamespace(settings=settings, access=None, tracing=None)  # no request comes
    return create_app(cast("ProducerContext", context)).openapi()


def operations(page: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, verbs in page["paths"].items():
        for verb, operation in verbs.items():
            yield f"{verb} {path}", operation


def test_every_answer_has_a_shape_an_example_and_a_request_id(page: dict[str, Any]):
    for name, operation in operations(page):
        for status, response in operation["responses"].items():
            assert "x-request-id" in response["headers"], (name, status)
            for kind, content in response["content"].items():
                assert content.get("schema"), (name, status, kind)
                if kind == "application/json":
                    assert content.get("example"), (name, status)


def test_every_body_has_an_example(page: dict[str, Any]):
    for name, operation in operations(page):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            assert "example" in content, name
            assert "413" in operation["responses"], name


def test_what_asks_for_a_key_tells_the_errors_of_openai_and_never_a_422(page: dict[str, Any]):
    for name, operation in operations(page):
        told = set(operation["responses"])
        assert "422" not in told, name
        if "security" in operation and "/metrics" not in name:
            assert told >= {"400", "401", "403", "404", "429", "500", "503"}, name
            for status in told - {"200"}:
                schema = operation["responses"][status]["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/Failure"}, (name, status)
