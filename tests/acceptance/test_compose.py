"""docker-compose.yml without an engine: parsed, and each service's own command run for real."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from producer.local import services
from producer.local.ports import LOOPBACK, claim_port
from producer.local.processes import ChildProcess, start_child
from shared.settings import Settings
from tests.servers.waiting import wait_for

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name for name, service in SERVICES.items() if "build" in service}
EVERYWHERE = "0.0.0.0"  # noqa: S104 - inside a container
KEY = "a-key-for-this-test-alone"


def here(command: list[str], port: int) -> list[str]:
    """The service's command, with what only the image has replaced by what is here."""
    programs = {
        "promptmill": [sys.executable, "-m", "producer.cli.main"],
        "python": [sys.executable],
        "/etc/promptmill/catalog.toml": [str(ROOT / "catalog.toml")],
    }
    translated = [part for word in command for part in programs.get(word, [word])]
    ports = {"8000": str(port), "9000": str(port), "--port=5555": f"--port={port}"}
    return [ports.get(word, word).replace(EVERYWHERE, LOOPBACK) for word in translated]


@pytest.fixture
def run(postgres_url: str, redis_url: str, tmp_path: Path) -> Iterator[Callable[..., ChildProcess]]:
    children: list[ChildProcess] = []
    env = os.environ | {
        "PROMPTMILL_DATABASE_URL": postgres_url.replace("postgresql+psycopg", "postgresql"),
        "PROMPTMILL_REDIS_URL": redis_url,
        "PROMPTMILL_ADMIN_KEY": KEY,
        "PROMPTMILL_HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(ROOT),
        "FLOWER_BASIC_AUTH": f"promptmill:{KEY}",
        "FLOWER_UNAUTHENTICATED_API": "false",
    }

    def start(name: str, port: int = 0, **more: str) -> ChildProcess:
        command = here(SERVICES[name]["command"], port)
        log = tmp_path / f"{name}.log"
        children.append(start_child(name, command, env=env | more, log=log, cwd=tmp_path))
        return children[-1]

    yield start
    for child in children:
        child.kill()


def test_every_service_runs_by_its_own_command(
    run: Callable[..., ChildProcess], tmp_path: Path
) -> None:
    migrate = run("migrate")
    assert migrate.wait(60)
    assert migrate.exit_code == 0, migrate.log_tail()
    ports = {name: claim_port(0, "") for name in ("api", "flower", "simulator")}
    health = {"api": "/health/ready", "flower": "/healthcheck", "simulator": "/health"}
    started = {name: run(name, port) for name, port in ports.items()}
    ready = {name: tmp_path / f"{name}.ready" for name in ("worker", "worker-interactive")}
    started |= {name: run(name, PROMPTMILL_READY_FILE=str(file)) for name, file in ready.items()}
    started["maintenance"] = run("maintenance")
    for name, port in ports.items():
        url = f"http://{LOOPBACK}:{port}{health[name]}"
        wait_for(lambda url=url: services.answers(url), f"{name} is healthy")  # type: ignore[misc]
        assert url.replace(str(port), _container_port(name)) in " ".join(
            SERVICES[name]["healthcheck"]["test"]
        )
    for name, file in ready.items():
        wait_for(file.exists, f"{name} is ready")
    assert {name for name, child in started.items() if not child.is_alive} == set()
    for child in started.values():
        child.ask_to_stop()
    for name, child in started.items():
        assert child.wait(60), name
        assert child.exit_code in (0, -15), (name, child.exit_code, child.log_tail())


def _container_port(name: str) -> str:
    return {"api": "8000", "flower": "5555", "simulator": "9000"}[name]


def test_every_service_that_the_product_needs_is_there() -> None:
    assert {
        "migrate",
        "api",
        "worker",
        "worker-interactive",
        "maintenance",
        "flower",
        "simulator",
    } == OURS
    assert SERVICES["simulator"]["profiles"] == ["simulator"]
    assert "container_name" not in SERVICES["worker"]  # it can be scaled
    assert "ports" not in SERVICES["worker"]


def test_no_secret_stands_in_the_file_and_what_is_required_says_so() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|KEY|AUTH$|DATABASE_URL", variable):
                if variable.endswith("_FILE"):  # a file's name, whose text comes from .env as well
                    assert COMPOSE["secrets"][value.removeprefix("/run/secrets/")].keys() == {
                        "environment"
                    }
                    continue
                assert re.search(r"\$\{[A-Z_]+:\?[^}]+\}", value), (name, variable)


def test_nothing_starts_before_the_database_is_migrated_and_redis_is_healthy() -> None:
    for name in OURS - {"migrate", "simulator"}:
        needs = SERVICES[name]["depends_on"]
        assert needs["migrate"]["condition"] == "service_completed_successfully"
        assert needs["redis"]["condition"] == needs["postgres"]["condition"] == "service_healthy"
    for name in set(SERVICES) - {"migrate"}:
        assert "healthcheck" in SERVICES[name], name


def test_grafana_is_given_sources_of_data_that_are_services_of_the_same_profile() -> None:
    folder = ROOT / "monitoring" / "grafana" / "provisioning" / "datasources"
    sources = [yaml.safe_load(file.read_text())["datasources"] for file in folder.iterdir()]
    hosts = {re.split(r"://|:\d", one["url"])[1] for some in sources for one in some}
    assert hosts == {"prometheus", "jaeger"}
    assert {tuple(SERVICES[host]["profiles"]) for host in hosts} == {("monitoring",)}


def test_redis_keeps_what_it_is_given() -> None:
    command = " ".join(SERVICES["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


def test_the_image_is_built_from_hashes_and_does_not_run_as_root() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert "--require-hashes -r requirements.lock" in text
    assert text.index("USER promptmill") < text.index("CMD")
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text, flags=re.MULTILINE)
    allowed = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    }
    assert {name for line in copied for name in line.split()} == allowed


def test_up_and_compose_start_the_same_programs(settings: Settings, tmp_path: Path) -> None:
    flower = services.flower(5555, KEY).command
    assert list(flower[1:]) == [
        word.replace(EVERYWHERE, LOOPBACK) for word in SERVICES["flower"]["command"][1:]
    ]
    assert list(services.maintenance().command[1:]) == SERVICES["maintenance"]["command"][1:]
    role = SERVICES["worker-interactive"]["command"]
    threads = services.interactive_worker(tmp_path).command
    assert role[role.index("--concurrency") + 1] == threads[threads.index("--concurrency") + 1]


def test_every_setting_of_the_example_is_one() -> None:
    names = re.findall(
        r"^# (PROMPTMILL_[A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE
    )
    known = {f"PROMPTMILL_{name.upper()}" for name in Settings.model_fields}
    assert len(names) > 10
    assert set(names) <= known
