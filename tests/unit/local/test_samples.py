import json
import os
from pathlib import Path

import pytest

from producer.intake import IntakeLimits, ValidLine, read_lines
from producer.local.demo import LOCAL_SAMPLE, SAMPLE
from shared.catalog.loader import load_catalog

CATALOG = Path(__file__).parents[3] / "catalog.toml"


@pytest.mark.parametrize("sample", [SAMPLE, LOCAL_SAMPLE])
def test_every_line_of_the_samples_is_good(sample: Path) -> None:
    models = load_catalog(CATALOG, os.environ).models
    with sample.open("rb") as file:
        lines = list(read_lines(file, IntakeLimits(), models))
    assert len(lines) >= 20
    assert [line for line in lines if not isinstance(line, ValidLine)] == []


def test_the_sample_shows_both_kinds_of_lines_and_every_way_to_ask() -> None:
    lines = [json.loads(line) for line in SAMPLE.read_text().splitlines()]
    assert {"body" in line for line in lines} == {True, False}
    asked = [line.get("body", line) for line in lines]
    assert any("response_format" in line for line in asked)
    assert any("constraints" in line for line in asked)
    assert any("preferences" in line for line in asked)
    assert {line.get("model", "auto") for line in asked} >= {"auto", "cheap", "mid", "best"}
