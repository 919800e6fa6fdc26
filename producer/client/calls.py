"""What the client asks the HTTP API: one pure builder a call, no I/O.

A `Call` that is `repeatable` may be sent again after a failure whose effect is unknown: it reads,
or doing it twice is the same as once. The others are sent again only when they never left.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypedDict
from urllib.parse import quote

import orjson

Usd = str | int | float | Decimal


class SubmitOptions(TypedDict, total=False):
    """How a file is run; every key may be left out."""

    project: str
    max_cost_usd: Usd
    strict: bool
    completion_window: str
    priority: str
    webhook_url: str
    name: str
    metadata: Mapping[str, str]
    idempotency_key: str
    deduplicate: bool
    start: str  # "early" or "complete"
    optimise: str
    pilot: bool
    max_quality_loss: float


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request without its address, key and streamed body."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True
    timeout_s: float | None = None  # for each read and write, where it is not the client's own


def submit(options: SubmitOptions, idempotency_key: str) -> Call:
    """Submission of a file of lines, which is streamed as the body."""
    params: dict[str, str] = {}
    for name in (
        "project", "completion_window", "priority", "webhook_url", "name", "start", "optimise",
        "max_quality_loss",
    ):  # fmt: skip
        if options.get(name) is not None:
            params[name] = str(options[name])
    if options.get("max_cost_usd") is not None:
        params["max_cost_usd"] = str(options["max_cost_usd"])
    if options.get("strict"):
        params["strict"] = "true"
    if (pilot := options.get("pilot")) is not None:
        params["pilot"] = "true" if pilot else "false"
    if (deduplicate := options.get("deduplicate")) is not None:
        params["deduplicate"] = "true" if deduplicate else "false"
    if options.get("metadata"):
        params["metadata"] = orjson.dumps(dict(options["metadata"])).decode()
    return Call(
        "POST",
        "/v1/batches",
        params,
        headers={"Content-Type": "application/x-ndjson", "Idempotency-Key": idempotency_key},
    )


def allotting(max_cost_usd: Usd | None, optimise: str | None) -> dict[str, str]:
    """The parameters of a plan for a budget."""
    given = {"max_cost_usd": max_cost_usd, "optimise": optimise}
    return {name: str(value) for name, value in given.items() if value is not None}


def get(path: str, **params: object) -> Call:
    """A reading call; parameters that are None are left out."""
    given = {name: str(value) for name, value in params.items() if value is not None}
    return Call("GET", path, given)


def post(path: str, body: Mapping[str, Any] | None = None, *, repeatable: bool = False) -> Call:
    """A changing call; body fields that are None are left out."""
    return Call("POST", path, body=_given(body), repeatable=repeatable)


def put(path: str, body: Mapping[str, Any]) -> Call:
    """A call that sets what it names; None is sent as null."""
    return Call("PUT", path, body=dict(body))


def patch(path: str, body: Mapping[str, Any]) -> Call:
    """A call that changes what it names."""
    return Call("PATCH", path, body=dict(body))


def delete(path: str, **params: object) -> Call:
    """A call that removes things; parameters that are None are left out."""
    given = {name: str(value) for name, value in params.items() if value is not None}
    return Call("DELETE", path, given)


def path(*parts: str) -> str:
    """The path under /v1, each part escaped, so that an id cannot reach another path."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def _given(body: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (body or {}).items() if value is not None}
