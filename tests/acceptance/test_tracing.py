"""One trace from a client's own span to the webhook, as a collector of OpenTelemetry gets it."""

import json
from typing import Any

import pytest

from tests.acceptance.conftest import Hooks
from tests.acceptance.whole_mill import JSONL, WholeMill
from tests.servers.collector import Collector, Span

pytestmark = pytest.mark.slow

TRACE, CLIENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CARRIED = f"00-{TRACE}-{CLIENT}-01"


@pytest.mark.parametrize("running_mill", ["embedded"], indirect=True)
def test_a_batch_is_one_trace_from_its_client_to_its_webhook(
    mill: WholeMill, collector: Collector, hooks: Hooks
) -> None:
    mill.simulator.set_scenario(
        {"rules": [{"match": {"model": "tiny"}, "fault": "weak"}], "latency_ms": 5}
    )
    lines = [{"prompt": f"Unheard-of words, number {n}", "model": "auto"} for n in range(5)]
    options = {"project": mill.project(), "webhook_url": hooks.url}
    answer = mill.http.post(
        "/v1/batches",
        params=options,
        content="\n".join(map(json.dumps, lines)),
        headers={"content-type": JSONL, "traceparent": CARRIED},
    )
    batch: dict[str, Any] = answer.raise_for_status().json()
    hooks.wait_for(1)

    spans = collector.trace(TRACE, "POST /v1/batches", "batch", "job", "webhook batch.completed")

    def one(name: str) -> Span:
        (found,) = [span for span in spans if span.name == name]
        return found

    asked = one("POST /v1/batches")
    assert (asked.parent, asked.service) == (CLIENT, "promptmill-api")
    for name in ("batch", "chunk queued", "chunk", "webhook batch.completed"):
        assert one(name).parent == asked.id
        assert one(name).about.get("promptmill.batch.id", batch["id"]) == batch["id"]
    assert one("chunk queued").ended_ns >= one("chunk queued").began_ns >= asked.began_ns
    assert one("webhook batch.completed").about["http.response.status_code"] == 200

    # One job of a hundred is traced, and the first one always: with each attempt and its price.
    job, attempts = one("job"), [span for span in spans if "gen_ai.request.model" in span.about]
    assert (job.parent, job.service) == (one("chunk").id, "promptmill-worker")
    assert job.about["promptmill.job.status"] == "completed"
    assert job.about["promptmill.job.climbs"] == 1
    assert job.about["promptmill.task_type"]
    assert len(attempts) == job.about["promptmill.job.attempts"] == 2
    assert {span.parent for span in attempts} == {job.id}
    assert all(span.events == ("sent",) for span in attempts)
    assert attempts[0].about["gen_ai.usage.output_tokens"] > 0
    paid = sum(span.about["promptmill.cost_nusd"] for span in attempts)
    assert paid == job.about["promptmill.cost_nusd"] > 0
    assert (
        one("batch").about["promptmill.cost_nusd"]
        == mill.batch(batch["id"])["promptmill"]["cost_nusd"]
    )
    assert {span.parent for span in spans if span.name == "record"} == {job.id}

    # Who is to be told of the trace is, and nobody else; no span tells a prompt or an answer.
    told = [call["traceparent"] for call in mill.simulator.calls() if call["traceparent"]]
    ours = {
        f"00-{TRACE}-{span.id}-01"
        for span in attempts
        if span.about["gen_ai.provider.name"] == "acme"
    }
    assert set(told) == ours != set()
    assert hooks.received[0][1]["traceparent"].startswith(f"00-{TRACE}-")
    assert "Unheard-of" not in repr(collector.spans)


@pytest.mark.parametrize("running_mill", ["embedded"], indirect=True)
def test_what_somebody_waits_for_is_traced_as_well(mill: WholeMill, collector: Collector) -> None:
    trace = "11112222333344445555666677778888"
    mill.http.post(
        "/v1/chat/completions",
        json={"model": "tiny", "messages": [{"role": "user", "content": "Hello"}]},
        headers={"traceparent": f"00-{trace}-{CLIENT}-01"},
    ).raise_for_status()

    spans = collector.trace(trace, "POST /v1/chat/completions", "chunk", "job", "chat tiny")

    (call,) = [span for span in spans if span.name == "chat tiny"]
    assert call.about["promptmill.outcome"] == "answered"
    assert not any(span.is_error for span in spans)
