"""`m3rag serve` in a process of its own: its start, its log, and its end under load."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from m3rag import M3Index
from tests.conftest import TEXTS
from tests.serve.conftest import KEY

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "m3rag", "serve", *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "M3RAG_API_KEY": KEY},
    )


def test_sigterm_under_load(tiny, tmp_path, m3rag):
    """Every response is whole and right, then the process ends with success.

    Meanwhile, a second server on the same folder ends with an error.
    """
    kb = tmp_path / "kb"
    with M3Index.open(kb, model=tiny) as index:
        index.add(["The pump waters the plants."])
    expected = tiny.encode(TEXTS).dense
    answered = threading.Semaphore(0)
    wrong: list[int] = []
    ended: list[str] = []

    def ask(number):
        with httpx.Client(base_url=url, headers=headers, timeout=30) as client:
            while True:
                i = number % len(TEXTS)
                try:
                    found = client.post("/v1/embeddings", json={"input": TEXTS[i]})
                except httpx.TransportError as error:
                    ended.append(type(error).__name__)
                    return
                vector = found.json()["data"][0]["embedding"]
                # The process computes in the default dtype, which can be bfloat16.
                if np.dot(vector, expected[i]) < 0.99:
                    wrong.append(i)
                answered.release()
                number += 1

    server = start("--in", f"one={kb}", "--port", 0)
    with server:
        greeting = server.stderr.readline()
        [url] = re.findall(r"http://127\.0\.0\.1:\d+", greeting)
        assert greeting.startswith("one at ")
        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(transport=httpx.HTTPTransport(retries=10)) as client:
            assert client.get(f"{url}/ready").is_success
        with ThreadPoolExecutor(8) as pool:
            asking = [pool.submit(ask, number) for number in range(8)]
            status, _, error = m3rag("serve", "--in", kb, "--port", 0)
            assert (status, error.startswith("Error: InUseError")) == (1, True)
            for _ in range(20):
                answered.acquire()
            server.send_signal(signal.SIGTERM)
            log = server.stderr.read()
        assert server.wait() == 0
    assert not wrong
    assert all(future.result() is None for future in asking)
    assert set(ended) <= {"ConnectError", "RemoteProtocolError", "ReadError"}
    lines = [json.loads(line) for line in log.splitlines()]
    assert all(line["status"] == 200 for line in lines if line["logger"] == "m3rag.access")
    assert KEY not in log
