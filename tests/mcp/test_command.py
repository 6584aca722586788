"""`m3rag mcp` as hosts start it: a process, spoken to on its streams or over HTTP."""

import json
import re
import signal
import subprocess
import sys

import pytest
from mcp import Client, StdioServerParameters

from tests.conftest import hear_ctrl_c
from tests.mcp.conftest import call
from tests.test_extras import run

COMMAND = (sys.executable, "-m", "m3rag", "mcp")
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


async def test_stdio(folders):
    _, notes = folders
    command, *arguments = (*COMMAND, "--in", str(notes))
    async with Client(StdioServerParameters(command=command, args=arguments)) as client:
        found = await call(client, "search", query="What is open?")
    assert [one["id"] for one in found["results"]] == ["notes/ignore.md#0"]


def test_only_messages_are_on_stdout_and_the_end_of_stdin_ends_it(folders):
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
    sent = "".join(json.dumps(message) + "\n" for message in (HELLO, ready, listing))
    done = subprocess.run(
        [*COMMAND, "--in", f"n={folders[1]}"],
        input=sent,
        capture_output=True,
        text=True,
        timeout=60,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert {answer["id"] for answer in answers} >= {1}
    assert all(answer["jsonrpc"] == "2.0" for answer in answers)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.enable_socket
async def test_http_until_sigterm(folders):
    command = [*COMMAND, "--in", str(folders[1]), "--http", "--port", "0"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c
    ) as process:
        try:
            line = process.stderr.readline()
            [url] = re.findall(r"notes at (http://127\.0\.0\.1:\d+/mcp)\. Stop with Ctrl-C", line)
            async with Client(url) as client:
                assert len((await client.list_tools()).tools) == 5
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()


def test_the_extra_is_named():
    done = run("from m3rag.cli import main; main()", ["mcp"], "mcp", "--in", "kb")
    assert (done.returncode, done.stdout) == (1, "")
    assert 'mcp is not installed. Install it: pip install "m3rag[mcp]"' in done.stderr


def test_what_cannot_start_says_why(m3rag, folders, tmp_path):
    kb = folders[1]
    for arguments, said in (
        (["--in", kb, "--port", 1], "--port is for HTTP. Add --http"),
        (["--in", tmp_path], "holds no knowledge base"),
        (["--in", kb, "--http", "--host", "0.0.0.0"], "the server has no key"),
        (["--in", kb, "--http", "--api-key-file", tmp_path / "none"], "cannot be read"),
    ):
        code, out, err = m3rag("mcp", *arguments)
        assert (code, out) == (1, "")
        assert said in " ".join(err.split())
