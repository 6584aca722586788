"""A hostile language model server: each behaviour ends in time, as an answer or as our error."""

import json
import os
import random
import signal
import string
import subprocess
import sys
import time
import traceback
from urllib.parse import quote

import pytest

from m3rag import M3Index
from m3rag.answers import Answer, OpenAIChat, write
from m3rag.errors import AnswerError, M3Error
from tests.conftest import hear_ctrl_c
from tests.trials.hostile_llm import ANSWERS, BEHAVIOURS, ENDLESS, RESPONSES, SLOW, SOCKETS
from tests.trials.hostile_llm_socket import served
from tests.trials.leaks import leaks, peak_memory
from tests.trials.record import SEED, record

pytestmark = pytest.mark.enable_socket

QUESTION = "What do ferns like?"
LATE = 2.0  # seconds after the deadline
MEMORY = 700 << 20  # more bytes than before
LONG = ("ranges", "quotations", "spaces", "nested brackets", "digits and separators", "omissions")
QUICK = [
    *(f"answer: {name}" for name in ANSWERS if name not in LONG),
    *(name for name in RESPONSES if "echo" in name or "key" in name or "length" in name),
    *("deep JSON", "20 MB", "gzip bomb", "100,000 headers", "redirect", "chunks", "UTF-16"),
    *("slow body", "slow headers", "slow error", "endless 100", "endless trailers"),
    *SOCKETS,
]


def random_key(seed):
    letters = string.ascii_letters + string.digits + "-_.+/=~"
    return "sk-" + "".join(random.Random(seed).choices(letters, k=40))


@pytest.fixture(scope="module")
def hits(tiny):
    with M3Index.open(model=tiny) as index:
        index.add(["Ferns like shade. Water them twice a week.", "A relay switches the pump."])
        yield index.search(QUESTION, 2)


@pytest.fixture(autouse=True)
def without_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def tried(name, hits, key, seconds):
    """Ask a server with this behaviour: (the answer or the error, seconds, whether asked once)."""
    with served(BEHAVIOURS[name]) as (url, clients):
        llm = OpenAIChat(url, "small", api_key=key, timeout=seconds)
        start = time.monotonic()
        found: object
        try:
            found = write(QUESTION, hits, llm)
        except Exception as error:
            found = error
        took = time.monotonic() - start
    return found, took, len(clients) == 1


def problems(name, hits, key, seconds):
    """Return what went wrong as (wrong, hung, raw), each 0 or 1."""
    before = peak_memory()
    found, took, once = tried(name, hits, key, seconds)
    wrong = leaks(found, key) or not once or peak_memory() - before > MEMORY
    if isinstance(found, Answer):
        found.text.encode()
        json.dumps(found.to_dict(), ensure_ascii=False).encode()
    elif isinstance(found, M3Error):
        str(found).encode()
        wrong = wrong or len(str(found)) > 1_500 or not str(found).isprintable()
    raw = not isinstance(found, Answer | AnswerError)
    if raw and isinstance(found, BaseException):
        traceback.print_exception(found)
    return int(wrong), int(took > seconds + LATE), int(raw)


@pytest.mark.parametrize("name", QUICK)
def test_it_ends_as_an_answer_or_as_an_error_of_ours(name, hits):
    assert problems(name, hits, random_key(0), 0.6) == (0, 0, 0)


@pytest.mark.parametrize("name", ["slow answer", "silence", "endless chunks"])
def test_the_deadline_is_for_everything(name, hits):
    found, took, _ = tried(name, hits, None, 0.5)
    assert "did not answer within 0.5 seconds" in str(found) or name in ENDLESS
    assert took < 0.5 + LATE


@pytest.mark.parametrize("name", ["silence", "slow body", "endless 100"])
def test_the_deadline_includes_the_handshake_of_tls(name):
    with served(BEHAVIOURS[name]) as (url, _):
        assert_ends(url.replace("http:", "https:"), random_key(3))


@pytest.mark.parametrize("name", ["silence", "slow status", "slow headers", "401 echoes"])
def test_the_deadline_includes_a_proxy(name, monkeypatch):
    key = random_key(4)
    with served(BEHAVIOURS[name]) as (url, _):
        proxy = url.replace("//", f"//user:{quote(key, '')}@").removesuffix("/v1")
        for scheme in ("http", "https"):
            monkeypatch.setenv(f"{scheme}_proxy", proxy)
            assert_ends(f"{scheme}://ferns.invalid/v1", key)


def assert_ends(url, key):
    """Assert that a request ends in time and with an error that does not show the key."""
    start = time.monotonic()
    with pytest.raises(AnswerError) as caught:
        OpenAIChat(url, "small", key, timeout=0.5)("Do.", "This?")
    assert time.monotonic() - start < 0.5 + LATE
    assert not leaks(caught.value, key)


def test_an_answer_that_comes_slowly_but_in_time_is_read(hits):
    assert tried("open after the answer", hits, None, 5)[0].text == "Ferns like shade [1]."


def test_the_status_is_reported_although_the_content_does_not_end(hits):
    found = tried("slow error", hits, random_key(1), 0.5)[0]
    assert "answered 401 No: x" in str(found)
    assert "Check the API key" in str(found)


@pytest.mark.trial
@pytest.mark.timeout(600)
def test_all_behaviours(hits):
    key = random_key(SEED)
    found = {name: problems(name, hits, key, 1.0 if name in SLOW else 3.0) for name in BEHAVIOURS}
    wrong, hung, raw = map(sum, zip(*found.values(), strict=True))
    bad = {name: each for name, each in found.items() if any(each)}
    assert len(found) >= 60
    note = f"bad: {bad}" if bad else ""
    name = "hostile language model server"
    record(name, tried=len(found), wrong=wrong, hung=hung, raw=raw, note=note)


# The command line


@pytest.fixture(scope="module")
def kb(tiny, tmp_path_factory):
    kb = tmp_path_factory.mktemp("hostile") / "kb"
    with M3Index.open(kb, model=tiny) as index:
        index.add(["Ferns like shade. Water them twice a week.", "A relay switches the pump."])
    return kb


def asking(kb, url, key, *options):
    command = [sys.executable, "-m", "m3rag", "ask", QUESTION, "--in", str(kb), "--llm-url", url]
    return subprocess.Popen(
        [*command, "--llm-model", "small", *options],
        env={**os.environ, "M3RAG_LLM_API_KEY": key, "NO_PROXY": "127.0.0.1", "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=hear_ctrl_c,
    )


def command_problems(kb, name, key, options):
    with (
        served(BEHAVIOURS[name]) as (url, _),
        asking(kb, url, key, "--llm-timeout", "2", *options) as process,
    ):
        try:
            out, err = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            return 0, 1, 0
    shown = (out + err).decode()
    wrong = leaks(shown, key) or process.returncode not in (0, 1)
    if options:
        found = json.loads(out)
        wrong = wrong or (found.get("written") is None) != (process.returncode == 1)
    return int(wrong), 0, int("Traceback" in shown)


@pytest.mark.trial
@pytest.mark.timeout(600)
@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
def test_the_command_line(kb, options):
    key = random_key(SEED)
    names = [
        *("answer: key in the answer", "answer: lone surrogate", "answer: control characters"),
        *("401 echoes in the reason", "200 echoes", "20 MB", "slow headers", "endless 100"),
    ]
    cases = [(name, key) for name in names] + [("401 echoes", f"{key}\r"), ("401 echoes", "é" * 9)]
    cases = cases if options else cases[::2]  # starting the command takes longest
    found = [command_problems(kb, name, each, options) for name, each in cases]
    wrong, hung, raw = map(sum, zip(*found, strict=True))
    name = f"hostile language model server, command line {'JSON' if options else 'text'}"
    record(name, tried=len(cases), wrong=wrong, hung=hung, raw=raw)


@pytest.mark.trial
def test_ctrl_c_ends_the_command_at_once(kb):
    with (
        served(BEHAVIOURS["slow body"]) as (url, clients),
        asking(kb, url, random_key(2), "--llm-timeout", "100") as process,
    ):
        interrupted(process, clients)


@pytest.mark.parametrize("name", ["slow body", "silence", "slow headers"])
def test_ctrl_c_ends_the_call_at_once(name):
    code = (
        "import sys; from m3rag.answers import OpenAIChat; OpenAIChat(sys.argv[1], 'm')('a', 'b')"
    )
    with (
        served(BEHAVIOURS[name]) as (url, clients),
        subprocess.Popen(
            [sys.executable, "-c", code, url],
            env={**os.environ, "NO_PROXY": "127.0.0.1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=hear_ctrl_c,
        ) as process,
    ):
        interrupted(process, clients)


def interrupted(process, clients):
    """Press Ctrl-C while a process waits for a server, which ends it at once."""
    end = time.monotonic() + 60
    while not clients and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(0.3)
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert time.monotonic() - start < 5
    assert process.returncode not in (0, 1)
