"""A small index, and a local chat server with responses that a test chooses."""

import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import pytest

from m3rag import M3Index, Passage

PASSAGES = [
    Passage("fern#0", "Ferns like shade. Water them twice a week.", document_id="fern.md"),
    Passage("helecho#0", "Los helechos prefieren la sombra.", document_id="helecho.md"),
    Passage("pump#0", "A relay switches the pump.", document_id="pump.md", headings=("Pumps",)),
]


@pytest.fixture(scope="session")
def index(tiny):
    with M3Index.open(model=tiny) as index:
        index.add(PASSAGES)
        yield index


@pytest.fixture
def serve(monkeypatch):
    """A function that serves a response to all requests: (URL, list of requests so far)."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    @contextmanager
    def serving(body, status=200, *, headers=(), wait=None):
        requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                length = int(self.headers["Content-Length"])
                sent = json.loads(self.rfile.read(length))
                requests.append((self.path, dict(self.headers), sent))
                if wait is not None:
                    wait.wait(20)
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_):
                pass  # the client has hung up

        server = Server(("127.0.0.1", 0), Handler)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1", requests
        finally:
            if wait is not None:
                wait.set()
            server.shutdown()
            thread.join()
            server.server_close()

    return serving


def says(text):
    """Return a chat completion."""
    return {"choices": [{"message": {"role": "assistant", "content": text}}]}


@pytest.fixture
def never():
    """An event that is not set before the server stops."""
    return Event()
