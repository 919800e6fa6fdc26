"""The Helm chart is linted and rendered by Helm's own library."""

from pathlib import Path
from typing import Any

import helm_python as helm
import pytest
import yaml

from producer.api.shapes.overview import OverviewShape
from shared.settings import Settings

CHART = Path(__file__).parents[2] / "charts" / "promptmill"
Things = dict[tuple[str, str], dict[str, Any]]


def rendered(**values: Any) -> Things:
    with helm.Chart.load(str(CHART)) as chart:
        texts = chart.render(values, name="pm", namespace="prod")
    documents = [each for text in texts.values() for each in yaml.safe_load_all(text) if each]
    return {(each["kind"], each["metadata"]["name"]): each for each in documents}


def containers(things: Things) -> dict[str, dict[str, Any]]:
    found = {}
    for thing in things.values():
        if thing["kind"] in {"Deployment", "Job"}:
            (container,) = thing["spec"]["template"]["spec"]["containers"]
            found[container["name"]] = container
    return found


def test_helm_has_nothing_to_say_against_it() -> None:
    findings = helm.lint(str(CHART))
    assert findings["errors"] == []
    # 1 is advice: it would like a picture.
    assert [each for each in findings["messages"] if each["severity"] > 1] == []


def test_every_part_runs_without_rights_and_is_disrupted_one_by_one() -> None:
    things = rendered()
    parts = {"api", "worker", "interactive", "maintenance"}
    assert set(containers(things)) == parts | {"migrate"}
    for container in containers(things).values():
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["image"] == "promptmill:0.1.0"
    for part in parts:
        labels = things["Deployment", f"pm-{part}"]["spec"]["template"]["metadata"]["labels"]
        budget = things["PodDisruptionBudget", f"pm-{part}"]["spec"]
        selected = budget["selector"]["matchLabels"]
        assert selected.items() <= labels.items()
    assert not [kind for kind, _ in rendered(disruption={"enabled": False}) if "Budget" in kind]
    hook = things["Job", "pm-migrate"]["metadata"]["annotations"]["helm.sh/hook"]
    assert hook == "pre-install,pre-upgrade"


def test_every_part_that_stays_is_probed_where_it_answers_with_the_patience_of_the_values() -> None:
    for name, container in containers(rendered(probes={"failureThreshold": 9})).items():
        if name == "migrate":
            continue
        probe = container["livenessProbe"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        given = {each["name"]: each["value"] for each in container["env"]}
        assert probe["failureThreshold"] == 9
        assert probe["httpGet"]["port"] in ports
        if name != "api":
            assert given["PROMPTMILL_METRICS_PORT"] == str(ports["metrics"])


def test_secrets_come_by_reference_alone() -> None:
    things = rendered(existingSecret="mine")
    for container in containers(things).values():
        assert container["envFrom"] == [{"secretRef": {"name": "mine"}}]
        assert not [each for each in container["env"] if "KEY" in each["name"]]
    reference = things["TriggerAuthentication", "pm-overview"]["spec"]["secretTargetRef"][0]
    assert (reference["name"], reference["key"]) == ("mine", "PROMPTMILL_ADMIN_KEY")


def test_workers_are_scaled_on_the_backlog_that_the_api_tells() -> None:
    things = rendered()
    scaled = things["ScaledObject", "pm-worker"]["spec"]
    assert "replicas" not in things["Deployment", "pm-worker"]["spec"]
    (trigger,) = scaled["triggers"]
    assert trigger["metadata"]["url"] == "http://pm-api.prod.svc:8000/v1/overview"
    assert trigger["metadata"]["valueLocation"] in OverviewShape.model_fields
    port = things["Service", "pm-api"]["spec"]["ports"][0]["port"]
    assert port == 8000
    fixed = rendered(worker={"scaling": {"enabled": False, "minReplicas": 3}})
    assert fixed["Deployment", "pm-worker"]["spec"]["replicas"] == 3
    assert not [name for kind, name in fixed if kind == "ScaledObject"]


@pytest.mark.parametrize("catalog", ["", '[providers.openai]\nwire = "openai"\n'])
def test_its_settings_are_ours(catalog: str) -> None:
    things = rendered(catalog=catalog, env={"PROMPTMILL_FILES_URL": "s3://b/f"})
    known = {f"PROMPTMILL_{name.upper()}" for name in Settings.model_fields}
    known.add("PROMPTMILL_READY_FILE")
    for container in containers(things).values():
        given = {each["name"]: each["value"] for each in container["env"]}
        assert given.keys() <= known
        assert given["PROMPTMILL_FILES_URL"] == "s3://b/f"
        assert ("PROMPTMILL_CATALOG" in given) is bool(catalog)
    assert (("ConfigMap", "pm-catalog") in things) is bool(catalog)
