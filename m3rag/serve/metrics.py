"""The figures of `/metrics`, in Prometheus's text form.

Figures of requests are counted when they end; those of models and indexes are read when Prometheus
asks.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from m3rag.errors import KnowledgeBaseError
from m3rag.serve.backend import Backend

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_MODEL = {
    "waiting": (GaugeMetricFamily, "m3rag_model_queue", "Calls that wait for the model"),
    "passes": (CounterMetricFamily, "m3rag_model_passes", "Forward passes"),
    "encoded": (CounterMetricFamily, "m3rag_model_texts", "Texts that were encoded"),
    "tokens_encoded": (CounterMetricFamily, "m3rag_model_tokens", "Tokens that were encoded"),
    "memo_hits": (CounterMetricFamily, "m3rag_model_memo_hits", "Texts from the memo"),
}
"""The attributes of a model that are figures. One behind a URL has none of them."""


class Metrics:
    """The figures of one server."""

    def __init__(self, backend: Backend) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_State(backend))
        self._requests = Counter(
            "m3rag_requests",
            "Requests that ended",
            ("route", "method", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "m3rag_request_seconds",
            "Time from the first byte of a request to the last of its response",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._texts = Histogram(
            "m3rag_request_texts",
            "Texts of a request",
            ("route",),
            buckets=_SIZES,
            registry=self._registry,
        )

    def count(
        self, route: str, method: str, status: int, seconds: float, texts: int | None
    ) -> None:
        """Count a request that ended; `texts` is how many it had, if any."""
        known = method if method in _METHODS else "other"  # anybody can make up more
        self._requests.labels(route, known, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        if texts is not None:
            self._texts.labels(route).observe(texts)

    def text(self) -> bytes:
        """Return all figures; reads the sizes of the indexes."""
        return generate_latest(self._registry)


class _State(Collector):
    """The figures of the server, its models and its indexes as they are now."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def describe(self) -> Iterator[Metric]:
        """Return nothing: the registry need not ask before the start."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield the figures."""
        yield GaugeMetricFamily(
            "m3rag_requests_running", "Requests that are worked on", self._backend.running
        )
        for attribute, (kind, name, text) in _MODEL.items():
            family = kind(name, text, labels=["model"])
            for model_name, model in self._backend.models.items():
                if (value := getattr(model, attribute, None)) is not None:
                    family.add_metric([model_name], value)
            yield family
        sizes = GaugeMetricFamily(
            "m3rag_index_passages", "Passages of a knowledge base", labels=["knowledge_base"]
        )
        for name in self._backend.bases.names:
            try:
                sizes.add_metric([name], len(self._backend.bases.get(name)))
            except KnowledgeBaseError:  # a disk that failed; the others still count
                continue
        yield sizes
