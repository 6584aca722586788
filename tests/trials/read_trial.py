"""Reading documents in a worker process whose time and memory are watched."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from tests.trials.hostile_documents import Hostile

SECONDS = 10.0
BYTES = 1 << 30
_ROOT = Path(__file__).parents[2]


class Outcome(NamedTuple):
    """What became of a document.

    Attributes:
        kind: "document", "error" (an own one), "wrong", "raw" (another error, or a crash), "hung"
            or "memory".
        detail: The length of the document, or the message.
        seconds: The time that reading took.
        most: The most memory of the worker and its children together, in bytes.
    """

    kind: str
    detail: str
    seconds: float
    most: int


class Reader:
    """A worker process, started again after a document that it does not survive."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._worker: subprocess.Popen[str] | None = None
        self.counts: Counter[str] = Counter()
        self.bad: list[str] = []
        self.slowest = 0.0
        self.most = 0

    def read(self, document: Hostile) -> Outcome:
        """Read a document and count the outcome."""
        path = self._folder / document.name
        path.write_bytes(document.data)
        found = self._outcome(path)
        path.unlink()
        self.counts[found.kind] += 1
        self.slowest = max(self.slowest, found.seconds)
        self.most = max(self.most, found.most)
        if found.kind not in ("document", "error"):
            self.bad.append(f"{document.name}: {found}")
        return found

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.kill()
            self._worker.communicate()
            self._worker = None

    def _outcome(self, path: Path) -> Outcome:
        worker = self._started()
        assert worker.stdin is not None
        assert worker.stdout is not None
        start, most = time.monotonic(), 0
        worker.stdin.write(json.dumps(str(path)) + "\n")
        worker.stdin.flush()
        while not select.select([worker.stdout], [], [], 0.02)[0]:
            most = max(most, _memory_of_tree(worker.pid))
            seconds = time.monotonic() - start
            if seconds > SECONDS or most > BYTES:
                self.close()
                return Outcome("hung" if seconds > SECONDS else "memory", "", seconds, most)
        seconds = time.monotonic() - start
        line = worker.stdout.readline()
        if not line:
            status = worker.wait()
            self.close()
            return Outcome("raw", f"the worker ended with {status}", seconds, most)
        kind, detail = json.loads(line)
        return Outcome(kind, detail, seconds, most)

    def _started(self) -> subprocess.Popen[str]:
        if self._worker is None:
            self._worker = subprocess.Popen(
                [sys.executable, "-m", "tests.trials.read_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=_ROOT,
            )
            self._outcome(Path("/no/such/file.txt"))  # imports do not count
        return self._worker


def _memory_of_tree(process: int) -> int:
    """Return the resident memory of a process and its children, in bytes."""
    total = 0
    try:
        pages = Path(f"/proc/{process}/statm").read_text().split()[1]
        total = int(pages) * 4096
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                total += _memory_of_tree(int(child))
    except (OSError, IndexError):
        pass  # it just ended
    return total
