"""What a server must survive: too much, too slow, broken, or gone."""

import asyncio
import os
import resource
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from fastapi import APIRouter

from m3rag import M3Index, M3Model
from tests.serve.conftest import KEY, serving

JSON = {"content-type": "application/json"}


def until(condition):
    """Wait until a condition holds."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


class Gate:
    """A route that waits until it is opened, and counts who is inside."""

    def __init__(self, served):
        self.opened = asyncio.Event()
        self.inside = self.cancelled = 0
        router = APIRouter()
        router.add_api_route("/gate", self.wait, methods=["GET", "POST"])
        served.app.include_router(router)

    async def wait(self, body: dict[str, str] | None = None):
        self.loop = asyncio.get_running_loop()
        self.inside += 1
        try:
            await self.opened.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.inside -= 1
        return {"done": True}

    def open(self):
        self.loop.call_soon_threadsafe(self.opened.set)


@contextmanager
def calling(served, number, path="/gate", body=None):
    """Send requests from threads, and yield their futures."""
    with ThreadPoolExecutor(number) as pool:
        yield [pool.submit(served.client.post, path, json=body or {}) for _ in range(number)]


def test_more_requests_than_the_server_works_on(tiny):
    with serving({}, {"tiny": tiny}, max_concurrent_requests=2) as served:
        gate = Gate(served)
        with calling(served, 2) as running:
            until(lambda: gate.inside == 2)
            refused = served.client.post("/v1/embeddings", json={"input": "x"})
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            assert refused.json()["error"]["type"] == "rate_limit_error"
            assert served.client.post("/embed", json={}).json()["error_type"] == "Overloaded"
            assert served.client.get("/health").is_success
            assert "m3rag_requests_running 2.0" in served.client.get("/metrics").text
            gate.open()
        assert all(response.result().json() == {"done": True} for response in running)
        assert served.client.post("/v1/embeddings", json={"input": "x"}).is_success


def test_bodies_that_are_too_large(tiny):
    """Ten megabytes of text, with its length in front or not, are read and refused."""
    text = b'{"input": "' + b"water " * (10 << 20) + b'"}'
    text = text[: 10 << 20]
    with serving({}, {"tiny": tiny}, payload_limit=1 << 20) as served:
        for content in (text, (text[i : i + 65_536] for i in range(0, len(text), 65_536))):
            refused = served.client.post("/v1/embeddings", content=content, headers=JSON)
            assert refused.status_code == 413
            assert refused.json()["error"]["code"] == "payload_too_large"
            assert "1,048,576 bytes" in refused.json()["error"]["message"]
        fits = b'{"input": "x"}'.ljust(1 << 20)
        assert served.client.post("/v1/embeddings", content=fits, headers=JSON).is_success


def test_bodies_that_are_broken(served):
    deep = b'{"input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    for content, status, message in (
        (b'{"input": "x"', 400, "not valid JSON"),
        (b'{"input": "\xff"}', 400, "not UTF-8"),
        (b'{"input": "\\ud800"}', 400, "surrogate"),
        (deep, 400, "nested too deeply"),
        (b'{"input": 1' + b"0" * 5_000 + b"}", 400, "thousands of digits"),
        (b'"input"', 422, "must be a JSON object"),
        (b"", 422, "the body: Field required"),
        (b'{"input": {"a": 1}}', 422, "input"),
        (b'{"input": null}', 422, "input"),
        (b'{"input": "x", "dimensions": 1e400}', 422, "dimensions"),
    ):
        refused = served.client.post("/v1/embeddings", content=content, headers=JSON)
        assert refused.status_code == status, content[:40]
        assert message in refused.json()["error"]["message"]
    plain = served.client.post("/v1/embeddings", content=b'{"input": "x"}')
    assert plain.status_code == 422  # a web form can send it from any site
    assert "Content-Type: application/json" in plain.json()["error"]["message"]
    long = served.client.post("/v1/embeddings", json={"input": "x", "x" * 10_000: 1})
    assert len(long.text) < 500


def test_clients_and_routes_that_are_too_slow(tiny):
    """A body that drips is cut off; a route that takes too long is stopped."""
    with serving({}, {"tiny": tiny}, request_timeout=0.3) as served:
        gate = Gate(served)
        with socket.create_connection(("127.0.0.1", served.port())) as dripping:
            head = b"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
            dripping.sendall(head)
            answer = b"".join(iter(lambda: dripping.recv(10_000), b""))  # until it is closed
            assert answer.startswith(b"HTTP/1.1 408")
            assert b"did not arrive within 0.3 seconds" in answer
        with socket.create_connection(("127.0.0.1", served.port())) as headless:
            headless.sendall(b"POST /embed HTTP/1.1\r\n")
            assert headless.recv(10_000) == b""  # closed
        slow = served.client.post("/gate", json={})
        assert slow.status_code == 504
        assert slow.json()["error"]["code"] == "timeout"
        assert gate.cancelled == 1


def test_clients_that_go_away(fresh: M3Model):
    """Their work is cancelled; the next client is not held up by it."""
    texts = [f"text {i} " + "water " * 60 for i in range(1_500)]
    with serving({}, {"tiny": fresh}) as served:
        gate = Gate(served)
        for path, body in (("/gate", {}), ("/v1/embeddings", {"input": texts})):
            with pytest.raises(httpx.ReadTimeout):
                served.client.post(path, json=body, timeout=0.5)
            until(lambda: fresh.waiting == served.app.state.backend.running == 0)
        assert gate.cancelled == 1
        assert fresh.encoded < len(texts)
        assert served.client.post("/v1/embeddings", json={"input": "x"}).is_success


def test_a_thousand_connections(served):
    most, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2_500:
        pytest.skip("This system allows too few open files.")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(most, 2_500), hard))
    try:
        with ExitStack() as held:
            for _ in range(1_000):
                one = held.enter_context(socket.create_connection(("127.0.0.1", served.port())))
                one.sendall(b"POST /embed HTTP/1.1\r\n")
            assert served.client.post("/embed", json={"inputs": "x"}).is_success
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def test_draining(tiny):
    """At the end, what runs is finished; no new connection is accepted."""
    with serving({}, {"tiny": tiny}, key=KEY) as served:
        gate = Gate(served)
        with calling(served, 3) as running:
            until(lambda: gate.inside == 3)
            served.server.handle_exit(signal.SIGTERM, None)
            until(lambda: not any(server.is_serving() for server in served.server.servers))
            with pytest.raises(httpx.ConnectError):
                httpx.get(f"{served.url}/health")
            gate.open()
        for future in running:
            assert future.result().json() == {"done": True}
            assert future.result().headers["connection"] == "close"


def test_what_is_not_finished_at_the_end(tiny, caplog):
    """A body that still arrives, and a route that still runs, end with an error that says why."""
    with serving({}, {"tiny": tiny}, drain_timeout=0.5) as served:
        gate = Gate(served)
        with (
            calling(served, 1) as running,
            socket.create_connection(("127.0.0.1", served.port())) as arriving,
        ):
            arriving.sendall(
                b"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"
            )
            until(lambda: gate.inside == 1 and served.app.state.backend.running == 2)
            served.server.drain()
            answer = b"".join(iter(lambda: arriving.recv(10_000), b""))
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"The server stopped before the request was finished." in answer
        [future] = running
        assert future.result().json()["error"]["code"] == "draining"
    assert "Exception in ASGI application" not in caplog.text


def test_a_delay_for_load_balancers(tiny):
    """Until it is over, the server is not ready, but still answers; a second signal ends it."""
    with serving({}, {"tiny": tiny}, drain_delay=30) as served:
        served.server.handle_exit(signal.SIGTERM, None)
        draining = served.client.get("/ready")
        assert (draining.status_code, draining.json()["error"]["code"]) == (503, "draining")
        assert served.client.get("/health").is_success
        assert served.client.post("/embed", json={"inputs": "x"}).is_success
        served.server.handle_exit(signal.SIGTERM, None)
        assert served.server.should_exit


def test_an_engine_that_is_killed_under_load(tiny, tmp_path):
    """No client notices: the folder's data does not depend on it."""
    index = M3Index.open(tmp_path / "kb", model=tiny)
    index.add(f"The pump waters {number} plants." for number in range(30))
    engine = index.stored.store.process.pid
    with serving({"kb": index}) as served:
        path, query = "/v1/kbs/kb/search", {"query": "What waters 7 plants?", "k": 3}
        expected = served.client.post(path, json=query).json()
        with calling(served, 40, path, query) as running:
            until(lambda: any(future.done() for future in running))
            os.kill(engine, signal.SIGKILL)
        texts = [hit["passage"]["text"] for hit in expected["hits"]]
        for future in running:
            assert [hit["passage"]["text"] for hit in future.result().json()["hits"]] == texts
        assert index.stored.store.process.pid != engine
