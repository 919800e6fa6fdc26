import socket
from pathlib import Path

import pytest

from producer.local.doctor import Finding, Health, examine, failover, is_healthy
from shared.settings import Settings


def found(findings: list[Finding], check: str) -> Finding:
    return next(finding for finding in findings if finding.check == check)


def test_a_machine_that_has_everything_is_healthy(settings: Settings) -> None:
    findings = examine(settings, {"OPENAI_API_KEY": "sk-not-shown-anywhere"})
    assert is_healthy(findings), [f for f in findings if f.health is Health.FAIL]
    assert found(findings, "providers").detail == "ready: openai"
    assert found(findings, "database").detail == "SQLite, up to date"
    assert "sk-not-shown" not in str(findings)


def test_postgresql_is_looked_at_too(settings: Settings, postgres_url: str) -> None:
    findings = examine(settings.model_copy(update={"database_url": postgres_url}), {})
    assert found(findings, "database").detail == "PostgreSQL, up to date"
    assert found(findings, "clock").health is Health.OK


def test_a_database_without_tables_fails_with_what_to_do(
    settings: Settings, blank_database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "blank.db").touch()
    findings = examine(settings.model_copy(update={"database_url": blank_database_url}), {})
    assert not is_healthy(findings)
    assert "promptmill migrate" in found(findings, "database").advice


def test_a_redis_that_is_gone_fails_and_the_rest_is_still_looked_at(settings: Settings) -> None:
    gone = settings.model_copy(update={"redis_url": "unix:///nowhere/at/all.sock"})
    findings = examine(gone, {})
    assert found(findings, "redis").health is Health.FAIL
    assert found(findings, "database").health is Health.OK


def test_a_redis_with_replicas_that_would_go_on_without_them_is_a_warning() -> None:
    alone = {"role": "master", "connected_slaves": 0}
    replicated = {"role": "master", "connected_slaves": 1}
    assert failover(alone) is None
    warned = failover(replicated)
    assert warned is not None
    assert warned.health is Health.WARN
    assert "min-replicas-to-write" in warned.advice
    safe = failover(replicated | {"min_slaves_good_slaves": 1})
    assert safe is not None
    assert safe.health is Health.OK


def test_a_broken_catalog_fails_naming_the_file(settings: Settings, tmp_path: Path) -> None:
    broken = tmp_path / "mine.toml"
    broken.write_text("[providers\n")
    findings = examine(settings.model_copy(update={"catalog": broken}), {})
    assert found(findings, "catalog").health is Health.FAIL
    assert "mine.toml" in found(findings, "catalog").detail


def test_a_home_that_cannot_be_made_fails(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    findings = examine(settings.model_copy(update={"home": tmp_path / "file" / "home"}), {})
    assert found(findings, "home").health is Health.FAIL
    assert "PROMPTMILL_HOME" in found(findings, "home").advice


def test_a_busy_port_is_a_warning_with_the_option(settings: Settings) -> None:
    with socket.socket() as busy:
        busy.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            busy.bind(("127.0.0.1", 5555))
        except OSError:
            pytest.skip("another program of this machine holds the port")
        busy.listen()
        warned = [f for f in examine(settings, {}) if f.check == "port" and f.health is Health.WARN]
    assert any("--flower-port" in finding.advice for finding in warned)


def test_the_embedded_server_is_tried_where_no_other_is_set(settings: Settings) -> None:
    findings = examine(settings.model_copy(update={"redis_url": ""}), {})
    assert found(findings, "embedded redis").detail == "runs"
    assert "up` starts it" in found(findings, "redis").detail
