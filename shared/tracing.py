"""Spans by OpenTelemetry: what a process did, when, and within which trace.

On where the environment names an endpoint (OTEL_EXPORTER_OTLP_ENDPOINT, or ..._TRACES_ENDPOINT) and
the extra `otel` is installed; otherwise there is no `Tracing` at all, and who could be traced asks
for nothing but that. The standard OTEL_* settings say where to, what is sampled and who we are.

Ending a span puts it into a queue that a thread of the SDK empties by OTLP over HTTP: a collector
that is slow or away costs spans, never time. Attributes are names, numbers and ids of ours; never a
prompt, an answer, a key or an address. A trace is carried as W3C's `traceparent` alone.
"""

import importlib
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import structlog

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, SpanContext, Tracer

log = structlog.get_logger(__name__)

TRACEPARENT: Final = "traceparent"
"""W3C's header, and the column and the message's header that carry the same text."""

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_FLUSH_WITHIN_S: Final = 3.0

Kind = Literal["internal", "client", "consumer"]
Value = str | int | float | bool
Attributes = Mapping[str, Value | None]
"""None: not known, and left out."""


@dataclass(frozen=True, slots=True)
class Traced:
    """A span that goes on; whoever began it ends it, once. Safe in any thread."""

    span: "Span"
    tracer: "Tracer"

    @property
    def is_recorded(self) -> bool:
        """Whether it was sampled; otherwise it is carried on and nothing else."""
        return self.span.is_recording()

    @property
    def traceparent(self) -> str:
        """What carries its trace to others."""
        return _as_header(self.span.get_span_context())

    def child(
        self,
        name: str,
        attributes: Attributes | None = None,
        *,
        kind: Kind = "internal",
        at_ns: int | None = None,
    ) -> "Traced":
        """A span within this one."""
        from opentelemetry.context import Context
        from opentelemetry.trace import set_span_in_context

        context = set_span_in_context(self.span, Context())
        return _begun(self.tracer, name, context, attributes, kind, at_ns)

    def tell(self, attributes: Attributes) -> None:
        """Add what has become known."""
        self.span.set_attributes(_known(attributes))

    def note(self, what: str) -> None:
        """Remember a moment."""
        self.span.add_event(what)

    @contextmanager
    def as_current(self) -> Iterator[None]:
        """The span of all that is done inside, as `current_traceparent` tells it; ends with it."""
        from opentelemetry.trace import use_span

        kind: str | None = None
        with use_span(self.span, record_exception=False, set_status_on_exception=False):
            try:
                yield
            except BaseException as error:
                kind = type(error).__name__
                raise
            finally:
                self.end(failed_by=kind)

    def end(self, *, failed_by: str | None = None, at_ns: int | None = None) -> None:
        """It is over, now or at that moment in Unix nanoseconds; failed_by: the kind of error."""
        if failed_by is not None:
            from opentelemetry.trace import StatusCode

            self.span.set_attribute("error.type", failed_by)
            self.span.set_status(StatusCode.ERROR)
        self.span.end(at_ns)


class Tracing:
    """One a process that is traced. Thread-safe."""

    def __init__(
        self, provider: "TracerProvider", *, job_share: float = 1.0, sent_to: tuple[str, ...] = ()
    ) -> None:
        """job_share: of a batch's jobs; sent_to: which providers are told of the trace, and
        `webhooks`.
        """
        self.provider = provider
        self._tracer = provider.get_tracer("promptmill")
        self._job_share = job_share
        self._sent_to = frozenset(sent_to)

    def begin(
        self,
        name: str,
        parent: str,
        attributes: Attributes | None = None,
        *,
        kind: Kind = "internal",
        at_ns: int | None = None,
    ) -> Traced:
        """A span within what another process began. One that cannot be read begins a trace."""
        return _begun(self._tracer, name, _context_of(parent), attributes, kind, at_ns)

    def takes(self, line: int) -> bool:
        """Whether the job of this line is traced: the first one, and then evenly so many that they
        are the share. The same of a line each time it is asked.
        """
        return line == 1 or int(line * self._job_share) > int((line - 1) * self._job_share)

    def is_sent_to(self, name: str) -> bool:
        """Whether requests to a provider, or to `webhooks`, carry the trace."""
        return name in self._sent_to

    def close(self) -> None:
        """Send what is left, for three seconds at most."""
        flushing = threading.Thread(target=self.provider.shutdown, name="spans", daemon=True)
        flushing.start()
        flushing.join(_FLUSH_WITHIN_S)
        if flushing.is_alive():
            log.warning("the last spans were not taken", within_s=_FLUSH_WITHIN_S)


def begin_tracing(
    service: str,
    *,
    job_share: float,
    sent_to: tuple[str, ...],
    environment: Mapping[str, str] = os.environ,
) -> Tracing | None:
    """The process's tracing by the environment; None where it is off or cannot be had, which is
    logged. service: its name where OTEL_SERVICE_NAME gives none.
    """
    if not _is_wanted(environment):
        return None
    spoken = next((environment[name] for name in _PROTOCOLS if environment.get(name)), "")
    if spoken not in {"", "http/protobuf"}:
        log.warning("spans are not sent: only http/protobuf is spoken", protocol=spoken)
        return None
    try:
        otlp = importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("spans are not sent: install promptmill[otel]")
        return None
    named = {} if _has_name(environment) else {SERVICE_NAME: service}
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(otlp.OTLPSpanExporter()))
    return Tracing(provider, job_share=job_share, sent_to=sent_to)


def current_traceparent() -> str | None:
    """The trace that this thread or task works for, as it is carried on; None where there is none,
    as always where tracing is off.
    """
    from opentelemetry.trace import get_current_span

    context = get_current_span().get_span_context()
    return _as_header(context) if context.is_valid else None


def _is_wanted(environment: Mapping[str, str]) -> bool:
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if environment.get("OTEL_TRACES_EXPORTER", "").lower() == "none":
        return False
    return any(environment.get(name) for name in _ENDPOINTS)


def _has_name(environment: Mapping[str, str]) -> bool:
    resource = environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return bool(environment.get("OTEL_SERVICE_NAME")) or "service.name=" in resource


def _begun(
    tracer: "Tracer",
    name: str,
    context: "Context",
    attributes: Attributes | None,
    kind: Kind,
    at_ns: int | None,
) -> Traced:
    from opentelemetry.trace import SpanKind

    span = tracer.start_span(
        name,
        context,
        SpanKind[kind.upper()],
        _known(attributes or {}),
        start_time=at_ns,
    )
    return Traced(span, tracer)


def _known(attributes: Attributes) -> dict[str, Value]:
    return {name: value for name, value in attributes.items() if value is not None}


def _context_of(traceparent: str) -> "Context":
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({TRACEPARENT: traceparent}, Context())


def _as_header(context: "SpanContext") -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 3:02x}"
