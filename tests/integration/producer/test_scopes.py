"""Scopes: every endpoint of the API's page with keys of one scope each."""

from typing import Any

import httpx
import pytest

ADMIN_KEY_ONLY = {"post /v1/projects", "get /metrics", "get /v1/overview"}
ADMIN = {
    "post /v1/keys", "get /v1/keys", "patch /v1/keys/{key_id}", "delete /v1/keys/{key_id}",
    "put /v1/budget", "put /v1/cache", "delete /v1/outcomes", "put /v1/routing",
    "post /v1/routing/trial", "delete /v1/routing/trial",
}  # fmt: skip
READ_BY_POST = {"post /v1/route", "post /v1/plan"}
BODIES: dict[str, Any] = {"post /v1/projects": {"name": "x"}}
FREE = ("/health",)


def wanted_scope(operation: str) -> str | None:
    if operation in ADMIN_KEY_ONLY:
        return None
    if operation in ADMIN:
        return "admin"
    is_read = operation.startswith("get ") or operation in READ_BY_POST
    return "read" if is_read else "submit"


@pytest.fixture
def operations(api: httpx.Client) -> list[str]:
    paths = api.get("/openapi.json").json()["paths"]
    return [
        f"{verb} {path}"
        for path, verbs in paths.items()
        for verb in verbs
        if not path.startswith(FREE)
    ]


def test_a_key_does_what_its_scope_allows_and_nothing_else(
    api: httpx.Client, operations: list[str]
):
    for scope in ("read", "submit", "admin"):
        key = api.post("/v1/keys", json={"scopes": [scope]}).raise_for_status().json()["key"]
        for operation in operations:
            verb, path = operation.split()
            answer = api.request(
                verb,
                path.replace("{", "").replace("}", ""),
                headers={"Authorization": f"Bearer {key}"},
                json=BODIES.get(operation),
            )
            needed = wanted_scope(operation)
            allowed = needed is not None and scope in (needed, "admin")
            assert (answer.status_code != 403) is allowed, (scope, operation, answer.text)
            if not allowed:
                assert answer.json()["error"]["code"] == "insufficient_scope"


def test_nothing_is_told_without_a_key(api: httpx.Client, operations: list[str]):
    for operation in operations:
        verb, path = operation.split()
        body = BODIES.get(operation)
        answer = httpx.request(verb, f"{api.base_url}{path}", json=body, trust_env=False)
        assert answer.status_code == 401, operation
        assert answer.headers["www-authenticate"] == "Bearer"
