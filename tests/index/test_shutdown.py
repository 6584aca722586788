"""Calls that go on while Python shuts down, without threads, or until Ctrl-C."""

import json
import subprocess
import sys
import textwrap

import pytest

from m3rag import M3Index

PROGRAM = """
    import asyncio, json, sys, threading, time
    from m3rag import M3Index, M3Model, Passage

    place, daemon = sys.argv[1], sys.argv[2] == "daemon"
    index = M3Index.open(place or None, model=M3Model.load("tiny", dtype="float32"))
    index.add(["first"])
    started = threading.Barrier(5)

    def passages(name):
        for i in range(24):
            time.sleep(0.02)
            yield Passage(f"{name}{i}", f"passage number {i} of {name}")

    def say(**values):
        sys.stdout.write(json.dumps(values) + "\\n")
        sys.stdout.flush()

    def report(name):
        return lambda stage, done, total: say(name=name, done=done)

    def add(name):
        index.add(passages(name), batch=4, progress=report(name))

    async def aadd(name):
        await index.aadd(passages(name), batch=4, progress=report(name))

    async def asearch():
        for _ in range(12):
            await index.asearch("number", 3)
            await asyncio.sleep(0.03)

    def search(name):
        for _ in range(12):
            index.search("number", 3)
            time.sleep(0.03)

    jobs = {
        "add": add,
        "aadd": lambda name: asyncio.run(aadd(name)),
        "search": search,
        "asearch": lambda name: asyncio.run(asearch()),
    }

    def run(name):
        started.wait()
        try:
            jobs[name](name)
            say(name=name, end="ok")
        except BaseException as error:
            say(name=name, end=f"{type(error).__mro__} {error}")

    for name in jobs:
        threading.Thread(target=run, args=(name,), daemon=daemon).start()
    started.wait()
    time.sleep(0.1)
"""


@pytest.mark.parametrize("kind", ["daemon", "threads"])
def test_threads_that_are_busy_when_the_program_ends(place, kind, tiny):
    """They end their work, or are told so by m3rag's own error; nothing reported is lost."""
    code = textwrap.dedent(PROGRAM)
    arguments = [sys.executable, "-c", code, str(place or ""), kind]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=100, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr
    notes = [json.loads(line) for line in done.stdout.splitlines() if line.endswith("}")]
    ends = {note["name"]: note["end"] for note in notes if "end" in note}
    for name, end in ends.items():
        assert end == "ok" or "M3Error" in end, (name, end)
    if kind == "threads":
        assert ends == dict.fromkeys(["add", "aadd", "search", "asearch"], "ok")
    if place is not None:
        with M3Index.open(place, model=tiny) as index:
            for name in ("add", "aadd"):
                reported = max(
                    (n["done"] for n in notes if n["name"] == name and "done" in n), default=0
                )
                stored = index.get([f"{name}{i}" for i in range(reported)])
                assert None not in stored


LIMITED = """
    import threading
    from m3rag import M3Index, M3Model

    index = M3Index.open(model=M3Model.load("tiny", dtype="float32"))
    index.add(["first"])

    def fail(self):
        raise RuntimeError("can't start new thread")

    threading.Thread.start = fail
    index.add([f"passage {i}" for i in range(9)], batch=2)
    hits = index.search("passage", 3)
    print(len(index), len(hits), hits[0].colbert is not None)
"""


def test_no_thread_is_left():
    """The calls use their own thread. At its limit of threads, the system says the same."""
    code = textwrap.dedent(LIMITED)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["10", "3", "True"], done.stderr


INTERRUPTED = """
    import os, signal, sys, threading
    from m3rag import M3Index, M3Model, Passage

    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    index = M3Index.open(model=M3Model.load("tiny", dtype="float32"))
    write, reported = index._store.add, []

    def slow(points):
        for row in range(len(points)):
            write(points[row : row + 1])
            if row == 0 and len(index) > 4:
                os.kill(os.getpid(), signal.SIGINT)
                threading.Event().wait(0.3)

    index._store.add = slow
    try:
        index.add([Passage(f"p{i}", f"text {i}") for i in range(40)], batch=4,
                  progress=lambda stage, done, total: reported.append(done))
    except KeyboardInterrupt:
        print(len(index) % 4, len(index) >= reported[-1] > 0)
"""


def test_ctrl_c_never_leaves_half_a_batch():
    code = textwrap.dedent(INTERRUPTED)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["0", "True"], done.stderr
