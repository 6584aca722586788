"""A server on loopback, in a thread of the test process."""

import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from fastapi import FastAPI

from m3rag import M3Index
from m3rag.bases import KnowledgeBases
from m3rag.serve import Keys, ServeConfig, create_app
from m3rag.serve.listening import bind
from m3rag.serve.running import Server

HERE = Path(__file__).parent
KEY = "a-key-of-the-tests-0123456789"


def pytest_collection_modifyitems(items):
    """Let the tests of this folder connect to this machine."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.enable_socket)


class Served(NamedTuple):
    """A running server: its URL, a client of it, its application, and the server."""

    url: str
    client: httpx.Client
    app: FastAPI
    server: Server

    def port(self):
        return int(self.url.rpartition(":")[2])


@contextmanager
def serving(indexes, models=None, **settings):
    """Serve open indexes by name, with their model; the settings are those of `ServeConfig`.

    Args:
        indexes: The indexes by name; the server closes them at the end.
        models: The models by name; those of the indexes by default.
        settings: `key` is one key for everything.
    """
    if models is None:
        models = {index.model.name: index.model for index in indexes.values()}
    key = settings.pop("key", None)
    if key is not None:
        settings["keys"] = Keys.of(key)
    config = ServeConfig(port=0, **settings)
    app = create_app(KnowledgeBases(indexes, models), config)
    server = Server(app, config)
    bound = bind(config.host, config.port, guarded=bool(config.keys))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.005)
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=url, headers=headers, timeout=30) as client:
            yield Served(url, client, app, server)
    finally:
        server.drain()
        thread.join(30)
        bound.close()
    assert not thread.is_alive()


@pytest.fixture(scope="package")
def served(tiny):
    """A server of "tiny" and of an empty index in memory, without keys. Do not write to it."""
    with serving({"kb": M3Index.open(model=tiny)}) as served:
        yield served
