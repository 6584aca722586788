"""A span for each request, sent to an OpenTelemetry collector (extra `otel`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.types import Scope

from m3rag.extras import require

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_FLUSH_MILLISECONDS = 5_000


class Tracing:
    """Makes spans, as a part of the client's trace if it sends one (W3C Trace Context)."""

    def __init__(self, endpoint: str, service_name: str) -> None:
        """Prepare to send spans; nothing is sent yet.

        Args:
            endpoint: The collector's URL for OTLP over HTTP, without `/v1/traces`.
            service_name: The name of the service.

        Raises:
            MissingExtraError: The extra `otel` is not installed.
        """
        require("opentelemetry.sdk", "otel")
        require("opentelemetry.exporter.otlp.proto.http", "otel")
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self._provider = TracerProvider(
            resource=Resource.create({"service.name": service_name}), shutdown_on_exit=False
        )
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("m3rag.serve")

    def start(self, scope: Scope, headers: Headers) -> RequestSpan:
        """Start the span of a request."""
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        span = self._tracer.start_span(
            scope["method"],
            context=TraceContextTextMapPropagator().extract(headers),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": scope["method"], "url.scheme": scope["scheme"]},
        )
        return RequestSpan(span, scope["method"])

    def close(self) -> None:
        """Send what is left, for a few seconds at most."""
        self._provider.force_flush(_FLUSH_MILLISECONDS)
        self._provider.shutdown()


class RequestSpan:
    """The span of one request."""

    def __init__(self, span: Span, method: str) -> None:
        self._span = span
        self._method = method

    def end(self, route: str, status: int, notes: dict[str, int]) -> None:
        """End the span."""
        from opentelemetry.trace import StatusCode

        self._span.update_name(f"{self._method} {route}")
        self._span.set_attribute("http.route", route)
        self._span.set_attribute("http.response.status_code", status)
        for name, number in notes.items():
            self._span.set_attribute(f"m3rag.{name}", number)
        if status >= 500:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()
