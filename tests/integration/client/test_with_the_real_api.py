"""Client and command line against the real API process, on SQLite and a real Redis; no workers run,
so jobs stay queued.
"""

import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

import migrations
from producer.client import ApiError, Promptmill
from tests.integration.client.conftest import Cli
from tests.servers.valkey import ValkeyServer

ROOT = Path(__file__).parents[3]
GOOD = '{"prompt": "What is two plus two?", "custom_id": "a"}\n'
BAD = '{"promt": "a typo"}\n'


@dataclass(frozen=True, slots=True)
class RealApi:
    url: str
    key: str


@contextmanager
def _serving(database_url: str, redis_url: str, folder: Path) -> Iterator[RealApi]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url, key = f"http://127.0.0.1:{port}", "admin-key-of-this-test-alone-0123456789"
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PROMPTMILL_HOME": str(folder / "home"),
        "PROMPTMILL_DATABASE_URL": database_url,
        "PROMPTMILL_REDIS_URL": redis_url,
        "PROMPTMILL_ADMIN_KEY": key,
        "PROMPTMILL_SIMULATOR_URL": "http://127.0.0.1:9",
    }
    command = [sys.executable, "-m", "producer.api", "--port", str(port)]
    log = (folder / "api.log").open("wb")
    with log, subprocess.Popen(command, env=env, cwd=folder, stderr=log) as process:
        try:
            while not _is_ready(url):
                assert process.poll() is None, (folder / "api.log").read_text()
                time.sleep(0.05)
            yield RealApi(url, key)
        finally:
            process.kill()


@pytest.fixture
def blank(sqlite_url: str, redis_url: str, tmp_path: Path) -> Iterator[RealApi]:
    """A process of the test's own that nobody has used, and the admin key."""
    with _serving(sqlite_url, redis_url, tmp_path) as api:
        yield api


@pytest.fixture(scope="module")
def shared_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealApi]:
    folder, server = tmp_path_factory.mktemp("api"), ValkeyServer()
    url = f"sqlite:///{folder / 'promptmill.db'}"
    migrations.upgrade(url)
    try:
        server.start()
        with _serving(url, server.url, folder) as api:
            yield api
    finally:
        server.remove()


@pytest.fixture
def real(shared_api: RealApi) -> RealApi:
    """A key that may do everything in a project of the test's own."""
    project = f"p-{uuid.uuid4().hex[:12]}"
    with Promptmill(shared_api.url, shared_api.key) as admin:
        admin.create_project(project)
        made = admin.create_key(project=project, scopes=["submit", "read", "admin"])
    return RealApi(shared_api.url, str(made["key"]))


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", trust_env=False).is_success
    except httpx.TransportError:
        return False


@pytest.fixture
def client(real: RealApi) -> Iterator[Promptmill]:
    with Promptmill(real.url, real.key) as mill:
        yield mill


def test_a_batch_from_its_submission_to_its_cancellation(client: Promptmill) -> None:
    submitted = client.submit([GOOD, BAD, {"prompt": "b"}], max_cost_usd="0.5", name="n")
    assert submitted.status == "in_progress"
    assert [(bad["line"], bad["code"]) for bad in submitted.rejected] == [(2, "unknown_parameter")]
    assert submitted.counts.total == 3
    assert [each.id for each in client.batches()] == [submitted.id]
    (early,) = client.results(submitted.id)
    assert (early["line"], early["status"]) == (2, "failed")
    assert client.report(submitted.id)["total_cost_nusd"] == 0
    client.resume(submitted.id, "0.75")
    client.cancel(submitted.id)
    ended = client.wait(submitted.id)
    assert (ended.status, ended.counts.cancelled) == ("cancelled", 2)
    assert [line["line"] for line in client.results(submitted.id, page=1)] == [1, 2, 3]
    story = client.job(next(client.job_ids(submitted.id)))
    assert (story["custom_id"], story["status"]) == ("a", "cancelled")
    with pytest.raises(ApiError) as caught:
        client.cancel(submitted.id)
    assert caught.value.status == 409


def test_the_same_key_is_the_same_batch_and_other_content_a_conflict(client: Promptmill) -> None:
    first = client.submit([GOOD], idempotency_key="k")
    assert client.submit([GOOD], idempotency_key="k").id == first.id
    with pytest.raises(ApiError) as caught:
        client.submit([{"prompt": "other"}], idempotency_key="k")
    assert (caught.value.status, caught.value.code) == (409, "idempotency_conflict")


def test_a_strict_submission_names_its_bad_lines_and_creates_nothing(client: Promptmill) -> None:
    with pytest.raises(ApiError) as caught:
        client.submit([GOOD, BAD], strict=True)
    assert [bad["line"] for bad in caught.value.rejected] == [2]
    assert list(client.batches()) == []


def test_projects_keys_and_budgets(blank: RealApi) -> None:
    with Promptmill(blank.url, blank.key) as client:
        client.create_project("acme")
        assert {project["id"] for project in client.projects()} == {"acme", "default"}
        made = client.create_key(project="acme", name="ci", scopes=["submit", "read"])
        with Promptmill(blank.url, made["key"]) as own:
            batch = own.submit([GOOD])
            assert [each.id for each in own.batches()] == [batch.id]
        assert list(client.batches()) == []
        with Promptmill(blank.url, blank.key, project="acme") as acting:
            budget = acting.set_budget(day_usd="2.5", total_usd=None)
            assert budget["project"] == "acme"
            assert [each["id"] for each in acting.api_keys()] == [made["id"]]
            acting.revoke_key(made["id"])
        day = next(w for w in client.budget("acme")["windows"] if w["window"] == "day")
        assert day["limit_nusd"] == 2_500_000_000
        assert all(w["limit_nusd"] is None for w in client.budget()["windows"])


def test_webhooks_are_made_listed_and_removed(client: Promptmill) -> None:
    made = client.create_webhook("http://203.0.114.7/hook", name="ops")
    assert made["signing_secret"].startswith("whsec_")
    assert [each["id"] for each in client.webhooks()] == [made["id"]]
    assert list(client.deliveries(made["id"])) == []
    client.delete_webhook(made["id"])
    assert list(client.webhooks()) == []
    with pytest.raises(ApiError) as caught:
        client.create_webhook("http://127.0.0.1/hook")
    assert caught.value.status == 400


def test_looking_ahead_and_the_catalog(client: Promptmill) -> None:
    decision = client.route({"prompt": "What is two plus two?"})
    assert decision["model"] in {model["id"] for model in client.models()}
    assert client.plan([GOOD, BAD])["rejected"] == 1
    wires = {provider["wire"] for provider in client.providers() if provider["available"]}
    assert wires == {"openai", "anthropic", "gemini", "cohere"}


def test_every_listing_and_document_on_the_terminal(blank: RealApi, run_cli: Cli) -> None:
    env = {"PROMPTMILL_API_URL": blank.url, "PROMPTMILL_API_KEY": blank.key}
    submitted = run_cli("submit", "-", "--json", stdin=GOOD + BAD, env=env)
    assert submitted.returncode == 0, submitted.stderr
    batch = json.loads(submitted.stdout)
    assert batch["rejected"][0]["line"] == 2
    hook = run_cli("webhook", "create", "http://203.0.114.7/hook", "--json", env=env)
    endpoint = json.loads(hook.stdout)["id"]
    documents = [
        ("status",),
        ("status", batch["id"]),
        ("report", batch["id"]),
        ("models",),
        ("providers",),
        ("budget", "set", "--project", "default", "--day", "1"),
        ("budget", "show"),
        ("project", "create", "p2"),
        ("project", "list"),
        ("key", "create", "--project", "p2"),
        ("key", "list", "--project", "p2"),
        ("webhook", "list"),
        ("webhook", "deliveries", endpoint),
        ("cancel", batch["id"]),
    ]
    for arguments in documents:
        document = run_cli(*arguments, "--json", env=env)
        assert document.returncode == 0, (arguments, document.stderr)
        json.loads(document.stdout)
        assert document.stderr == ""
        if "create" not in arguments and "cancel" not in arguments:
            table = run_cli(*arguments, env=env)
            assert table.returncode == 0, (arguments, table.stderr)
    assert run_cli("watch", batch["id"], env=env).returncode == 1
    csv = run_cli("results", batch["id"], "--format", "csv", env=env)
    assert len(csv.stdout.splitlines()) == 3
    assert run_cli("cancel", batch["id"], env=env).returncode == 1
    assert run_cli("status", "batch_none", env=env).returncode == 1


def test_a_file_without_one_good_line_fails(real: RealApi, run_cli: Cli) -> None:
    env = {"PROMPTMILL_API_URL": real.url, "PROMPTMILL_API_KEY": real.key}
    done = run_cli("submit", "-", stdin=BAD, env=env)
    assert done.returncode == 1
    assert "unknown_parameter" in done.stdout
    assert run_cli("submit", "-", stdin="\n", env=env).returncode == 1


def test_templates_from_the_command_line(real: RealApi, run_cli: Cli, tmp_path: Path) -> None:
    env = {"PROMPTMILL_API_URL": real.url, "PROMPTMILL_API_KEY": real.key}
    (tmp_path / "greet.txt").write_text("Hello {{ name }}\n")
    (tmp_path / "greet.json").write_text('{"prompt": "Hi {{ name }}", "max_tokens": 5}')
    assert run_cli("template", "create", "greet", "greet.txt", env=env).stdout == "greet@1: name\n"
    assert run_cli("template", "create", "greet", "greet.json", env=env).stdout.startswith(
        "greet@2"
    )
    assert run_cli("template", "show", "greet@1", env=env).stdout == "Hello {{ name }}\n"
    shown = json.loads(run_cli("template", "show", "greet", "--json", env=env).stdout)
    assert (shown["version"], shown["template"]["max_tokens"]) == (2, 5)
    assert "greet" in run_cli("template", "list", env=env).stdout
    assert (
        len(
            json.loads(run_cli("template", "show", "greet", "--versions", "--json", env=env).stdout)
        )
        == 2
    )
    assert run_cli("template", "delete", "greet", env=env).returncode == 0
    gone = run_cli("template", "show", "greet", env=env)
    assert gone.returncode == 1
    assert "no such template" in gone.stderr


def test_a_table_is_submitted_and_planned_with_a_template(
    real: RealApi, client: Promptmill, run_cli: Cli, tmp_path: Path
) -> None:
    env = {"PROMPTMILL_API_URL": real.url, "PROMPTMILL_API_KEY": real.key}
    (tmp_path / "greet.txt").write_text("Hello {{ name }} from {{ place }}")
    (tmp_path / "people.csv").write_text("name,place,custom_id\nAda,London,a\nBo,Oslo,b\n")
    (tmp_path / "gaps.jsonl").write_text('{"name": "Ada", "place": "x"}\n{"name": "Bo"}\n')
    client.create_template("greet", "Hi {{ name }} of {{ place }}")
    for template in ("greet.txt", "greet"):
        done = run_cli("submit", "gaps.jsonl", "--template", template, "--json", env=env)
        (bad,) = json.loads(done.stdout)["rejected"]
        assert (bad["line"], bad["field"], bad["code"]) == (2, "vars.place", "missing_variable")
        plan = run_cli("plan", "people.csv", "--template", template, "--json", env=env)
        assert json.loads(plan.stdout)["jobs"] == 2
    offline = run_cli("plan", "people.csv", "--template", "greet.txt", "--model", "high", "--json")
    assert json.loads(offline.stdout)["jobs"] == 2
    refused = run_cli("submit", "people.csv", env=env)
    assert refused.returncode == 1
    assert "--template" in refused.stderr
    assert run_cli("submit", "people.csv", "--template", "a b", env=env).returncode == 2


def test_a_key_is_limited_and_its_limit_raised_from_the_command_line(
    real: RealApi, run_cli: Cli
) -> None:
    env = {"PROMPTMILL_API_URL": real.url, "PROMPTMILL_API_KEY": real.key}
    limits = ("--rpm", "60", "--tokens-per-day", "5000", "--spend-limit", "2.5")
    made = json.loads(run_cli("key", "create", *limits, "--json", env=env).stdout)
    told = (made["requests_per_minute"], made["tokens_per_day"], made["spend_limit_nusd"])
    assert told == (60, 5000, 2_500_000_000)
    raised = run_cli("key", "limit", made["id"], "--spend-limit", "4", env=env)
    assert raised.stdout == f"{made['id']} may spend $4 in all its time\n"
    listed = run_cli("key", "list", env=env).stdout
    assert "5,000" in listed
    assert "$4" in listed
    assert run_cli("key", "limit", made["id"], "--spend-limit", "much", env=env).returncode == 2
