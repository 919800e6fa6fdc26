import re
import sys
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from structlog.testing import capture_logs

import worker.tracing
from shared.queue.messages import QUEUED_AT
from shared.tracing import TRACEPARENT, Tracing, begin_tracing, current_traceparent
from worker.figures import WorkerFigures
from worker.tracing import ChunkTrace, carried

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = SAMPLED[:-1] + "0"
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


def chunk_of(headers: dict[str, Any] | None, tracing: Tracing | None) -> ChunkTrace | None:
    return carried(headers, tracing, WorkerFigures()).claimed("batch_1", is_awaited=True)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        ENDPOINT | {"OTEL_SDK_DISABLED": "true"},
        ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_without_an_endpoint_or_where_it_is_disabled_nothing_is_traced(
    environment: dict[str, str],
) -> None:
    assert begin_tracing("a", job_share=1, sent_to=(), environment=environment) is None
    assert chunk_of({TRACEPARENT: SAMPLED}, None) is None
    assert current_traceparent() is None


def test_a_protocol_that_is_not_spoken_is_said_and_stops_nobody() -> None:
    environment = ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    with capture_logs() as said:
        assert begin_tracing("a", job_share=1, sent_to=(), environment=environment) is None
    assert "only http/protobuf" in said[0]["event"]


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
    monkeypatch.setitem(sys.modules, missing, None)
    with capture_logs() as said:
        assert begin_tracing("a", job_share=1, sent_to=(), environment=ENDPOINT) is None
    assert "promptmill[otel]" in said[0]["event"]


@pytest.mark.parametrize(
    ("share", "lines"), [(0.01, 10), (0.25, 251), (1.0, 1000), (0.0, 1), (0.0005, 1)]
)
def test_the_first_job_of_a_batch_is_traced_and_then_evenly_a_share(
    share: float, lines: int
) -> None:
    tracing = Tracing(TracerProvider(), job_share=share)
    taken = [line for line in range(1, 1001) if tracing.takes(line)]
    assert taken[0] == 1
    assert abs(len(taken) - lines) <= 1


def test_a_trace_goes_on_within_what_carried_it() -> None:
    tracing = Tracing(TracerProvider())
    traced = tracing.begin("intake", SAMPLED)
    with traced.as_current():
        assert current_traceparent() == traced.traceparent
        assert traced.traceparent[:36] == SAMPLED[:36]
        assert traced.traceparent[36:52] != SAMPLED[36:52]
    assert current_traceparent() is None


def test_what_a_client_did_not_sample_is_carried_on_and_its_jobs_are_not_looked_at() -> None:
    tracing = Tracing(TracerProvider())
    chunk = chunk_of({TRACEPARENT: UNSAMPLED, QUEUED_AT: 1}, tracing)
    assert chunk is not None
    assert chunk.job(1 << 24 | 1) is None


def test_a_message_without_a_trace_or_with_nonsense_begins_none() -> None:
    tracing = Tracing(TracerProvider())
    assert chunk_of(None, tracing) is None
    assert chunk_of({"lang": "py"}, tracing) is None
    assert chunk_of({TRACEPARENT: 7}, tracing) is None
    chunk = chunk_of({TRACEPARENT: "nonsense", QUEUED_AT: "yesterday"}, tracing)
    assert chunk is not None
    chunk.end(0)


def test_attempts_are_told_by_names_of_the_convention() -> None:
    used = set(re.findall(r'"(gen_ai\.[a-z_.]+)"', Path(worker.tracing.__file__).read_text()))
    assert len(used) > 5
    assert used <= {value for name, value in vars(gen_ai_attributes).items() if name.isupper()}
