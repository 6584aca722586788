"""Metrics, the access log, and spans."""

import json
import logging
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from fastapi import APIRouter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from m3rag import M3Index, M3Model
from m3rag.serve.access_log import JsonFormatter
from tests.serve.conftest import KEY, serving

SECRET = "the pump waters the hidden ferns"


@pytest.fixture
def collector():
    """A collector of spans on loopback, and the requests that it got."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            got.append((self.path, self.headers, body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    thread.join()
    server.server_close()


def value(text, name, **labels):
    """Return a figure of /metrics."""
    for line in text.splitlines():
        found = re.fullmatch(rf"{name}(?:\{{(.*)\}})? ([\d.e+-]+)", line)
        if found and all(f'{k}="{v}"' in (found[1] or "") for k, v in labels.items()):
            return float(found[2])
    raise AssertionError(f"{name} {labels} is not in\n{text}")


def broken():
    raise RuntimeError(f"No such thing as {SECRET}")


def test_what_is_observed(fresh: M3Model, collector, caplog):
    """Counts, log lines and spans tell what was done; texts and keys are in none of them."""
    endpoint, got = collector
    index = M3Index.open(model=fresh)
    index.add(["one", "two", "three"])
    caplog.set_level(logging.INFO)
    with serving({"kb": index}, key=KEY, otlp_endpoint=endpoint) as served:
        router = APIRouter()
        router.add_api_route("/broken", broken)
        served.app.include_router(router)
        body = {"input": [SECRET, "x"]}
        trace = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01", "x-request-id": "mine-1"}
        assert (
            served.client.post("/v1/embeddings", json=body, headers=trace).headers["x-request-id"]
            == "mine-1"
        )
        served.client.post("/v1/embeddings", json=body)
        served.client.post("/v1/embeddings", json={}, headers={"Authorization": "Bearer wrong"})
        served.client.get("/v1/models/no such model?q=" + SECRET.replace(" ", "+"))
        served.client.request("MADEUP", "/v1/embeddings")
        answer = served.client.get("/broken")
        text = served.client.get("/metrics").text
    assert answer.status_code == 500
    assert SECRET not in answer.text

    route = "/v1/embeddings"
    assert value(text, "m3rag_requests_total", route=route, method="POST", status="200") == 2
    assert value(text, "m3rag_requests_total", route="other", status="401") == 1
    assert value(text, "m3rag_requests_total", route="/v1/models/{name:path}", status="404") == 1
    assert value(text, "m3rag_requests_total", method="other", status="405") == 1
    assert value(text, "m3rag_request_seconds_count", route=route) == 3
    assert value(text, "m3rag_request_texts_sum", route=route) == 4
    assert value(text, "m3rag_model_passes_total", model="tiny") == fresh.passes == 2
    assert value(text, "m3rag_model_tokens_total", model="tiny") == fresh.tokens_encoded
    assert value(text, "m3rag_model_memo_hits_total", model="tiny") == 2
    assert value(text, "m3rag_model_queue", model="tiny") == 0
    assert value(text, "m3rag_requests_running") == 0
    assert value(text, "m3rag_index_passages", knowledge_base="kb") == 3

    records = [r for r in caplog.records if r.name.startswith("m3rag")]
    written = [JsonFormatter(log_texts=False).format(record) for record in records]
    lines = [json.loads(line) for line in written]
    first = next(line for line in lines if line["request_id"] == "mine-1")
    assert (first["texts"], first["status"], first["key"]) == (2, 200, "api-key")
    [bug] = [line for line in lines if line["level"] == "error"]
    assert bug["error"] == "RuntimeError"
    assert bug["request_id"] == answer.headers["x-request-id"]
    assert "broken" in bug["traceback"][-1]
    assert not any(SECRET in line or KEY in line or "wrong" in line for line in written)
    asked = JsonFormatter(log_texts=True).format(records[[*map(json.loads, written)].index(bug)])
    assert SECRET in asked

    path, _, _ = got[0]
    assert path == "/v1/traces"
    exported = [ExportTraceServiceRequest.FromString(body) for _, _, body in got]
    spans = [s for e in exported for r in e.resource_spans for c in r.scope_spans for s in c.spans]
    assert {s.name for s in spans} >= {"POST /v1/embeddings", "GET /metrics", "GET /broken"}
    [span] = [s for s in spans if s.trace_id.hex() == "ab" * 16]
    assert span.parent_span_id.hex() == "cd" * 8
    assert SECRET not in str(exported)
    assert KEY not in str(exported)
