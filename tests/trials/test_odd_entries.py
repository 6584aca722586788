"""A folder with every odd entry at once, through the real command, while files change."""

import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from tests.trials.record import SEED, record

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="entries of Linux")
GOOD = b"# Ferns\n\nFerns like shade.\n"
SKIPPED = {
    "pipe.md", "sock.md", "zero.txt", "tty.md", "null.html", "passwd.txt", "twin.md", "up", "here",
}  # fmt: skip
FAILED = {
    r"bad\xff.md", "dir\\xfe/", "gone.md", "self.md", "ring1.md", "sparse.txt", "empty.md",
    "binary.txt", "pdf.md", "page.pdf", "zip.pdf", "elf.html",
}  # fmt: skip
READ = {
    "good.md", "a\nb.md", "\x1b[2J.md", "[red]x[].md", "A.md", "a.md", "\u00c4.md", "A\u0308.md",
    "x" * 250 + ".md", "seen.md", " .md", "%s%n.md", "'\";.md", "\u202efdp.md", "folder.md/in.md",
}  # fmt: skip


def odd_folder(folder):
    """Fill a folder; return what the command must say about each entry."""
    folder.mkdir()
    for name in READ - {"seen.md"}:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(GOOD + name.encode())  # equal files are stored once
    raw = os.fsencode(folder)
    with open(raw + b"/bad\xff.md", "wb") as file:
        file.write(GOOD)
    os.mkdir(raw + b"/dir\xfe")
    links = {
        "gone.md": "nowhere", "self.md": "self.md", "ring1.md": ".ring2", ".ring2": "ring1.md",
        "zero.txt": "/dev/zero", "tty.md": "/dev/tty", "null.html": "/dev/null", "up": "..",
        "here": ".", "passwd.txt": "/etc/passwd", "twin.md": "good.md", "seen.md": ".hidden",
    }  # fmt: skip
    for name, target in links.items():
        (folder / name).symlink_to(target)
    os.mkfifo(folder / "pipe.md")
    with socket.socket(socket.AF_UNIX) as listener:
        before = os.getcwd()
        os.chdir(folder)
        listener.bind("sock.md")
        os.chdir(before)
    with open(folder / "sparse.txt", "wb") as file:
        file.truncate(20 << 30)
    contents = {
        ".hidden": GOOD, "empty.md": b"", "binary.txt": bytes(50), "pdf.md": b"%PDF-1.7\n",
        "page.pdf": b"<html><p>x", "zip.pdf": b"PK\3\4" + bytes(30), "elf.html": b"\x7fELF\2\1\1\0",
    }  # fmt: skip
    for name, data in contents.items():
        (folder / name).write_bytes(data)


def run(folder, *options):
    command = [sys.executable, "-m", "m3rag", "index", str(folder), "--model", "tiny"]
    return subprocess.run(
        [*command, "--to", str(folder.parent / "kb"), *options],
        capture_output=True,
        text=True,
        timeout=110,
        stdin=subprocess.DEVNULL,
    )


def test_every_odd_entry_at_once(tmp_path):
    folder = tmp_path / "handbook"
    odd_folder(folder)
    done = run(folder, "--json")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    found = json.loads(done.stdout)
    assert set(found["added"]) == {f"handbook/{name}" for name in READ}
    assert set(found["failed"]) == {f"handbook/{name}" for name in FAILED}
    assert set(found["skipped"]) == {f"handbook/{name}" for name in SKIPPED}
    assert set(found["excluded"]) == {"handbook/.hidden", "handbook/.ring2"}
    shown = run(folder)
    assert "\x1b" not in shown.stdout
    assert len(shown.stdout.splitlines()) == 2 + len(FAILED) + len(SKIPPED)
    assert shown.stdout.startswith(f"{len(READ)} unchanged; 0 passages stored")


class Changer(threading.Thread):
    """Replaces files by others, by links, pipes and folders, as fast as it can."""

    def __init__(self, folder, seed):
        super().__init__()
        self._folder, self._rng = folder, random.Random(seed)
        self.stop = threading.Event()

    def run(self):
        while not self.stop.is_set():
            path = self._folder / f"changing{self._rng.randrange(8)}.md"
            with suppress(OSError):
                self._change(path)
            time.sleep(self._rng.random() * 0.002)

    def _change(self, path):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
        match self._rng.randrange(6):
            case 0:
                path.write_bytes(GOOD * self._rng.randrange(1, 9))
            case 1:
                path.symlink_to("/etc/passwd")
            case 2:
                os.mkfifo(path)
            case 3:
                path.mkdir()
            case 4:
                path.symlink_to(path.name)


def check_changing(tmp_path, seed, runs):
    """Index a folder that changes all the time; return how often what happened."""
    from m3rag import M3Index, M3Model
    from m3rag.errors import M3Error
    from m3rag.index.sync import sync

    folder = tmp_path / "handbook"
    folder.mkdir()
    (folder / "good.md").write_bytes(GOOD)
    counts = {"wrong": 0, "raw": 0, "hung": 0}
    changer = Changer(folder, seed)
    changer.start()
    try:
        with M3Model.load("tiny") as model, M3Index.open(model=model) as index:
            for _ in range(runs):
                start = time.monotonic()
                try:
                    sync(index, folder, model.tokenizer)
                except M3Error:
                    counts["wrong"] += 1
                except Exception:
                    counts["raw"] += 1
                counts["hung"] += time.monotonic() - start > 10
                counts["wrong"] += any("root:" in p.text for p in index.passages())
            changer.stop.set()
            changer.join()
            sync(index, folder, model.tokenizer)
            texts = {p.document_id: p.text for p in index.passages() if p.text}
            counts["wrong"] += "handbook/good.md" not in texts
    finally:
        changer.stop.set()
        changer.join()
    return counts


def test_files_may_change_during_a_run(tmp_path):
    assert check_changing(tmp_path, 1, 20) == {"wrong": 0, "raw": 0, "hung": 0}


@pytest.mark.trial
@pytest.mark.timeout(300)
def test_files_may_change_during_many_runs(tmp_path):
    counts = check_changing(tmp_path, SEED, 600)
    record("a folder that changes while it is indexed", tried=600, **counts)
