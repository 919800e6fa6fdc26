"""Embeddings as jobs of a batch: answered, priced by their input, cached and deduplicated alike."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from producer.reporting.report import report
from producer.reporting.result_lines import result_line
from shared.domain.inference import Request
from tests.mill import asking, running_mill
from tests.servers.simulator import SimulatorServer


@pytest.fixture
def mill(tmp_path: Path, database_url: str, redis_url: str, simulator: SimulatorServer) -> Any:
    with running_mill(tmp_path, database_url, redis_url, simulator) as running:
        yield running


def embedding(given: Any, **fields: Any) -> Request:
    return Request((), embed={"input": given, **fields})


def test_prompts_and_texts_to_embed_stand_in_one_batch(
    mill: Any, simulator: SimulatorServer
) -> None:
    requests = [
        asking("What is the capital of France?", model="tiny"),
        embedding(["one", "two"], encoding_format="base64", dimensions=4),
        embedding("one", dimensions=4),
    ]
    mill.worker.runner.run(mill.batch(requests))

    talk, pair, single = mill.results()
    assert [row.status for row in (talk, pair, single)] == ["completed"] * 3
    assert (pair.model, pair.task_type, pair.cost_nusd) == ("embedder", None, 2 * 50)
    body = orjson.loads(pair.body)
    assert [each["index"] for each in body["data"]] == [0, 1]
    assert isinstance(body["data"][0]["embedding"], str)
    assert len(orjson.loads(single.body)["data"][0]["embedding"]) == 4
    assert pair.strongest_nusd == pair.cost_nusd
    assert result_line(pair)["text"] is None
    told = report(mill.database, mill.the_batch())
    assert told["total_cost_nusd"] == simulator.bill()["total_nusd"]
    embedded = next(row for row in told["by_model"] if row["model"] == "embedder")
    assert (embedded["attempts"], embedded["input_tokens"], embedded["output_tokens"]) == (2, 3, 0)
    assert [row["task_type"] for row in told["by_task_type"]] == [talk.task_type]
