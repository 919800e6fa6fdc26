"""Templates over HTTP: versions, whose they are, and what batches make of them."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from producer.bootstrap import ProducerContext
from producer.cancellation import find
from shared.db.repositories.batches import id_range
from shared.domain.job import job_id_of, public_job_id

JSONL = {"Content-Type": "application/x-ndjson"}


def create(api: httpx.Client, name: str, template: object, **more: Any) -> dict[str, Any]:
    answer = api.post("/v1/templates", json={"name": name, "template": template, **more})
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def submit(api: httpx.Client, *lines: dict[str, Any], **params: str) -> dict[str, Any]:
    body = "\n".join(json.dumps(line) for line in lines)
    answer = api.post("/v1/batches", content=body, headers=JSONL, params=params)
    assert answer.status_code == 200, answer.text
    submitted: dict[str, Any] = answer.json()
    return submitted


def stored(context: ProducerContext, batch: dict[str, Any]) -> list[dict[str, Any]]:
    """The requests of its good lines."""
    with context.database.reading() as connection:
        between = id_range(find(connection, batch["id"], None).number)
        statement = "SELECT request FROM jobs WHERE id BETWEEN {} AND {} ORDER BY id"
        rows = connection.exec_driver_sql(statement.format(*between)).all()
    return [json.loads(row[0]) for row in rows if row[0] is not None]


@pytest.fixture
def stranger(api: httpx.Client) -> Iterator[httpx.Client]:
    api.post("/v1/projects", json={"name": "other"})
    key = api.post("/v1/keys", json={"project": "other"}).json()["key"]
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=api.base_url, headers=headers, trust_env=False) as client:
        yield client


def test_every_change_is_a_version_and_saying_the_same_again_is_none(api: httpx.Client):
    first = create(api, "greet", "Hello {{ name }}")
    assert (first["id"], first["version"], first["variables"]) == ("greet@1", 1, ["name"])
    assert create(api, "greet", {"prompt": "Hello {{ name }}"})["id"] == "greet@1"
    assert create(api, "greet", {"prompt": "Hi {{ name }}", "model": "mid"})["id"] == "greet@2"
    assert api.get("/v1/templates/greet").json()["template"]["model"] == "mid"
    assert api.get("/v1/templates/greet@1").json() == first
    versions = api.get("/v1/templates/greet/versions").json()["data"]
    assert [each["version"] for each in versions] == [2, 1]


def test_templates_are_listed_by_name_page_by_page(api: httpx.Client):
    for name in ("b", "a", "c"):
        create(api, name, "x {{ y }}")
    create(api, "a", "z {{ y }}")
    page = api.get("/v1/templates", params={"limit": 2}).json()
    assert [each["id"] for each in page["data"]] == ["a@2", "b@1"]
    assert page["has_more"]
    rest = api.get("/v1/templates", params={"after": page["last_id"]}).json()
    assert [each["id"] for each in rest["data"]] == ["c@1"]
    assert not rest["has_more"]


def test_a_deleted_template_is_gone_and_its_numbers_stay_used(api: httpx.Client):
    create(api, "greet", "one {{ a }}")
    assert api.delete("/v1/templates/greet").json()["deleted"] is True
    for path in ("greet", "greet@1", "greet/versions"):
        assert code_of(api.get(f"/v1/templates/{path}")) == (404, "template_not_found")
    assert code_of(api.delete("/v1/templates/greet")) == (404, "template_not_found")
    assert api.get("/v1/templates").json()["data"] == []
    assert create(api, "greet", "one {{ a }}")["id"] == "greet@2"


def test_a_template_is_its_projects_own(api: httpx.Client, stranger: httpx.Client):
    create(api, "greet", "mine {{ a }}")
    assert code_of(stranger.get("/v1/templates/greet")) == (404, "template_not_found")
    assert code_of(stranger.delete("/v1/templates/greet")) == (404, "template_not_found")
    assert stranger.get("/v1/templates").json()["data"] == []
    assert create(stranger, "greet", "theirs {{ a }}")["id"] == "greet@1"
    assert api.get("/v1/templates/greet").json()["template"] == {"prompt": "mine {{ a }}"}
    bad = submit(stranger, {"template": "greet@7", "vars": {"a": 1}}, {"prompt": "x"})
    assert [line["code"] for line in bad["rejected"]] == ["template_not_found"]


BAD: list[tuple[dict[str, Any], str, str | None]] = [
    ({"name": "a b", "template": "x"}, "invalid_value", "name"),
    ({"name": 5, "template": "x"}, "invalid_type", "name"),
    ({"template": "x"}, "invalid_type", "name"),
    ({"name": "a"}, "invalid_type", "template"),
    ({"name": "a", "template": "{{ x"}, "invalid_template", "template"),
    ({"name": "a", "template": " "}, "invalid_value", "template.prompt"),
    (
        {"name": "a", "template": {"prompt": "x", "model": "gpt-99"}},
        "model_not_found",
        "template.model",
    ),
    ({"name": "a", "template": "x", "more": 1}, "unknown_parameter", "more"),
    ({"name": "a", "template": "x", "project": 1}, "invalid_type", "project"),
    ({"name": "a", "template": "\x00"}, "nul_character", None),
]


def test_a_template_that_could_not_run_is_refused(api: httpx.Client):
    for body, code, param in BAD:
        answer = api.post("/v1/templates", json=body)
        assert code_of(answer) == (400, code), body
        assert answer.json()["error"]["param"] == param


def test_a_strange_name_is_not_found(api: httpx.Client):
    for name in ("a%00b", "a%2Fb", "%ff", "x" * 300):
        for path in (name, f"{name}/versions"):
            assert api.get(f"/v1/templates/{path}").status_code == 404
        assert api.delete(f"/v1/templates/{name}").status_code == 404
        assert api.get(f"/v1/templates?after={name}").status_code == 404


def test_lines_are_stored_as_what_their_templates_made_of_them(
    api: httpx.Client, context: ProducerContext
):
    create(api, "greet", "Hello {{ name }}")
    create(api, "greet", {"prompt": "Hi {{ name }}", "max_tokens": 9})
    batch = submit(
        api,
        {"template": "greet", "vars": {"name": "Ada"}, "custom_id": "a"},
        {"template": "greet", "vars": {}, "custom_id": "b"},
        {"template": "greet@1", "vars": {"name": "Bo"}},
        {"template": "greet", "vars": {"name": "x" * 5000}},
    )
    assert [(bad["line"], bad["field"], bad["code"]) for bad in batch["rejected"]] == [
        (2, "vars.name", "missing_variable"),
        (4, None, "line_too_long"),
    ]
    first, third = stored(context, batch)
    assert first["messages"] == [{"role": "user", "content": "Hi Ada"}]
    assert (first["max_tokens"], first["template"]) == (9, "greet@2")
    assert (third["messages"][0]["content"], third["template"]) == ("Hello Bo", "greet@1")
    api.delete("/v1/templates/greet")
    with context.database.reading() as connection:
        job = public_job_id(job_id_of(find(connection, batch["id"], None).number, 1))
    assert api.get(f"/v1/jobs/{job}").json()["template"] == "greet@2"


def test_strict_submissions_routes_and_plans_know_templates(api: httpx.Client):
    create(api, "greet", {"prompt": "Hi {{ name }}", "model": "mid"})
    good = {"template": "greet", "vars": {"name": "Ada"}}
    bad = api.post(
        "/v1/batches",
        content=json.dumps({"template": "greet"}),
        headers=JSONL,
        params={"strict": "true"},
    )
    assert bad.json()["rejected"][0]["field"] == "vars.name"
    assert submit(api, good, strict="true")["rejected"] == []
    assert api.post("/v1/route", json=good).json()["tier"] == "mid"
    plan = api.post("/v1/plan", content=json.dumps(good)).json()
    assert (plan["jobs"], plan["rejected"]) == (1, 0)


def test_versions_made_at_once_get_different_numbers(context: ProducerContext):
    def make(number: int) -> int:
        row, _ = context.templates.create("default", "raced", f"{number} {{{{ a }}}}")
        return int(row.version)

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(make, range(24))) == list(range(1, 25))
