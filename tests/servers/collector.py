"""A collector of spans: takes OTLP over HTTP as OpenTelemetry's collector does, and keeps it."""

import gzip
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Wire

_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Span:
    """A span as it came, ids in hex."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    about: dict[str, Any]
    events: tuple[str, ...]
    began_ns: int
    ended_ns: int
    is_error: bool


class Collector:
    """`url` is what OTEL_EXPORTER_OTLP_ENDPOINT wants."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self._came = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                assert self.path == "/v1/traces"
                collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def take(self, request: ExportTraceServiceRequest) -> None:
        """Keep what came."""
        came = [
            _span(group, span)
            for group in request.resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ]
        with self._came:
            self.spans += came
            self._came.notify_all()

    def trace(self, trace_id: str, *names: str) -> list[Span]:
        """The spans of a trace, once one of each of these names is there."""

        def here() -> bool:
            return set(names) <= {span.name for span in self.spans if span.trace == trace_id}

        with self._came:
            came = self._came.wait_for(here, _PATIENCE_S)
            found = [span for span in self.spans if span.trace == trace_id]
        assert came, [span.name for span in found]
        return found

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _span(group: ResourceSpans, span: Wire) -> Span:
    names = {each.key: _plain(each.value) for each in group.resource.attributes}
    return Span(
        names["service.name"],
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        {each.key: _plain(each.value) for each in span.attributes},
        tuple(event.name for event in span.events),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.status.code == span.status.STATUS_CODE_ERROR,
    )


def _plain(value: AnyValue) -> Any:
    return getattr(value, str(value.WhichOneof("value")))
