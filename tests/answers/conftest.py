"""A small index, and a chat server on this machine that says what a test tells it to."""

import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

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
    """Serve: status and body for every request, and what was asked so far."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    @contextmanager
    def serving(body, status=200, *, headers=(), wait=None):
        asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                length = int(self.headers["Content-Length"])
                asked.append((self.path, dict(self.headers), json.loads(self.rfile.read(length))))
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

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.handle_error = lambda *_: None  # a client that has hung up
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1", asked
        finally:
            if wait is not None:
                wait.set()
            server.shutdown()
            thread.join()
            server.server_close()

    return serving


def says(text):
    """A chat completion."""
    return {"choices": [{"message": {"role": "assistant", "content": text}}]}


@pytest.fixture
def never():
    return Event()
