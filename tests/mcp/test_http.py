"""The server over HTTP: on loopback with the SDK's client, and who may call it."""

import json
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from m3rag import M3Index
from m3rag.index.contents import add_text
from m3rag.mcp import OpeningBases, create_server
from m3rag.mcp.access import anyone
from m3rag.mcp.http import KeyCheck, Server, http_app
from m3rag.serve.keys import Keys
from m3rag.serve.listening import bind
from tests.mcp.conftest import call, connected, refusal
from tests.serve.conftest import KEY, serving

pytestmark = pytest.mark.enable_socket

ALL, READ = "everything-0123456789", "only-the-garden-0123456789"
KEYS = f"""
[[key]]
key = "{ALL}"
access = "write"

[[key]]
key = "{READ}"
knowledge_bases = ["garden"]
filter = {{ lang = "es" }}
"""


@contextmanager
def served_mcp(bases, keys=None):
    """Serve knowledge bases on loopback, in a thread; yields the URL."""
    check = KeyCheck(keys.find) if keys else None
    caller = check.caller if check else anyone
    server = create_server(bases, allow_add=True, caller=caller)
    running = Server(http_app(server, "127.0.0.1", check))
    with bind("127.0.0.1", 0, guarded=bool(keys)) as bound:
        thread = threading.Thread(target=running.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            while not running.started:
                assert thread.is_alive()
                time.sleep(0.005)
            yield f"http://127.0.0.1:{bound.getsockname()[1]}/mcp"
        finally:
            running.should_exit = True
            thread.join(30)


@asynccontextmanager
async def client_of(url, key):
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        yield client


def post(url, **headers):
    """Send a request without the SDK; returns the status and the body."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accepted = {"Accept": "application/json, text/event-stream", **headers}
    answer = httpx2.post(url, json=body, headers=accepted)
    return answer.status_code, answer.text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_tools_and_resources_over_http(bases, mode):
    with served_mcp(bases) as url:
        async with Client(url, mode=mode) as client:
            found = await call(client, "search", query="What waters the ferns?")
            assert found["results"][0]["id"] == "garden/pump.md#0"
            [read] = (await client.read_resource("m3rag://notes/ignore.md")).contents
            assert "<b>Open</b>" in read.text
        if mode == "auto":  # a web site must not call a server without keys
            assert post(url, Host="attacker.example")[0] == 421
            assert post(url, Origin="https://attacker.example")[0] == 403


async def test_keys(bases, tmp_path):
    file = Path(tmp_path / "keys.toml")
    file.write_text(KEYS)
    with served_mcp(bases, Keys.read(file)) as url:
        status, body = post(url)
        assert (status, json.loads(body)) == (
            401,
            {"error": "Send a valid API key: `Authorization: Bearer KEY`."},
        )
        assert post(url, Authorization="Bearer wrong")[0] == 401
        assert post(url, Authorization=f"Basic {ALL}")[0] == 401
        async with client_of(url, READ) as client:
            assert "notes" not in client.instructions
            listed = await call(client, "list_documents")
            assert [one["id"] for one in listed["documents"]] == ["garden/es/sensor.md"]
            found = await call(client, "search", query="What waters the ferns?")
            assert [one["id"] for one in found["results"]] == ["garden/es/sensor.md#0"]
            assert "There are: garden." in await refusal(client, "fetch", id="notes/ignore.md")
            assert "There is no document" in await refusal(client, "fetch", id="garden/pump.md")
            assert [one.name for one in (await client.list_resources()).resources] == [
                "garden/es/sensor.md"
            ]
            assert "This API key can only read." in await refusal(
                client, "add_document", title="A", text="B", id="garden/a"
            )
        async with client_of(url, ALL) as client:
            assert len((await call(client, "list_documents"))["documents"]) == 5


async def test_a_knowledge_base_that_a_server_has_open(tiny, monkeypatch):
    monkeypatch.setenv("M3RAG_API_KEY", KEY)
    index = M3Index.open(model=tiny)
    add_text(index, "# Pump\n\nThe pump waters the ferns.", id="pump.md")
    with (
        serving({"garden": index}, key=KEY) as server,
        OpeningBases([f"{server.url}/garden"]) as bases,
    ):
        async with connected(bases, allow_add=True) as client:
            found = await call(client, "search", query="What waters the ferns?")
            assert [one["id"] for one in found["results"]] == ["garden/pump.md#0"]
            await call(client, "add_document", title="Noon", text="Relays click at noon.")
            assert (await call(client, "fetch", id="garden/Noon"))["text"].startswith("Relays")
        assert index.count() == 2
