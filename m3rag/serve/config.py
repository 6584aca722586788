"""The settings of a server, declared once; the command line takes its options from here."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from m3rag.errors import InputError
from m3rag.limits import DEFAULT_LIMITS, check_count, is_number, shown

if TYPE_CHECKING:
    from m3rag.model import M3CrossEncoder
    from m3rag.serve.keys import Keys

_MIB = 1 << 20


def _no_keys() -> Keys:
    from m3rag.serve.keys import Keys  # imports numpy, and every command imports this module

    return Keys()


def _option(default: Any, text: str, **more: Any) -> Any:
    return field(default=default, metadata={"help": text, **more})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """The settings of a server.

    Options of the same meaning have the names of text-embeddings-inference.

    Attributes:
        host: The address to listen on. Any other than loopback needs keys.
        port: The port; 0 for any free one.
        keys: Who may call the server. Without keys, everyone on this machine.
        llm: The language model that writes answers; None for answers of passages only.
        cross_encoder: What sorts texts for the rerank routes, and passages for questions that ask
            for it; None for the three views of the model.
        max_concurrent_requests: How many requests the server works on at the same time. More get
            429.
        max_client_batch_size: The most texts of one request.
        payload_limit: The most bytes of the body of a request.
        upload_limit: The most bytes of an uploaded document.
        store_limit: The most bytes of a request of `M3Index.open("http://…")`.
        request_timeout: The seconds within which the body must arrive, and those within which the
            response must begin.
        drain_delay: The seconds after SIGTERM in which the server is not ready, but still accepts
            requests, for a load balancer to notice.
        drain_timeout: The seconds that running requests get to finish.
        cors_allow_origin: The web sites whose scripts may call the server.
        served_model_name: The name of the model for clients.
        otlp_endpoint: The URL of an OpenTelemetry collector that gets a span for each request.
        otlp_service_name: The name of the service in spans.
        log_texts: Whether the log of a failed request has the message, which can quote texts.

    Raises:
        InputError: A setting is out of range.
    """

    host: str = _option("127.0.0.1", "Address to listen on. Another than loopback needs a key.")
    port: int = _option(8080, "Port; 0 for any free one.")
    keys: Keys = field(default_factory=_no_keys, metadata={"option": None})
    llm: object | None = field(default=None, metadata={"option": None})
    cross_encoder: M3CrossEncoder | None = field(default=None, metadata={"option": None})
    max_concurrent_requests: int = _option(
        512, "How many requests are worked on at the same time. More get 429 with Retry-After."
    )
    max_client_batch_size: int = _option(2048, "Most texts of one request.")
    payload_limit: int = _option(8 * _MIB, "Most bytes of the body of a request.")
    upload_limit: int = _option(64 * _MIB, "Most bytes of an uploaded document.")
    store_limit: int = _option(256 * _MIB, "Most bytes of a request of a remote index.")
    request_timeout: float = _option(
        120.0,
        "Seconds within which the body must arrive, and within which the response must begin.",
    )
    drain_delay: float = _option(
        0.0,
        "Seconds after SIGTERM in which /ready answers 503 and requests are still accepted, for a "
        "load balancer to notice.",
    )
    drain_timeout: float = _option(30.0, "Seconds that running requests get to finish.")
    cors_allow_origin: tuple[str, ...] = _option(
        (), "Web site whose scripts may call the server, such as https://example.com. Repeatable."
    )
    served_model_name: str | None = _option(None, "Name of the model for clients.")
    otlp_endpoint: str | None = _option(
        None,
        "URL of an OpenTelemetry collector, such as http://127.0.0.1:4318, that gets a span for "
        "each request.",
    )
    otlp_service_name: str = _option("m3rag", "Name of the service in spans.")
    log_texts: bool = _option(
        False, "Log the messages of errors, which can quote texts.", option="--log-texts"
    )

    def __post_init__(self) -> None:
        check_count("port", self.port, least=0, most=65_535)
        for name in ("max_concurrent_requests", "max_client_batch_size"):
            check_count(name, getattr(self, name))
        for name in ("payload_limit", "upload_limit", "store_limit"):
            check_count(name, getattr(self, name), least=1024, most=DEFAULT_LIMITS.expanded_bytes)
        for setting in fields(self):
            value = getattr(self, setting.name)
            if setting.type == "float" and not (is_number(value) and 0 <= value < math.inf):
                raise InputError(
                    f"`{setting.name}` must be a number of seconds, got {shown(value)}."
                )
        if not self.request_timeout:
            raise InputError("`request_timeout` must be more than 0 seconds.")
        for origin in self.cors_allow_origin:
            if origin != "*" and (not origin.startswith(("http://", "https://")) or "*" in origin):
                raise InputError(
                    f"`cors_allow_origin` must be an origin such as https://example.com, got "
                    f"{shown(origin)}."
                )
        endpoint = self.otlp_endpoint
        if endpoint is not None and not endpoint.startswith(("http://", "https://")):
            raise InputError(
                f"`otlp_endpoint` must be an http or https URL, got {shown(endpoint)}."
            )
        if self.served_model_name == "":
            raise InputError("`served_model_name` is empty. Leave it out for the model's own name.")
