"""Long work that a request starts and does not wait for: adding documents, one after the other."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from m3rag.errors import M3Error
from m3rag.progress import Progress
from m3rag.serve.errors import ServeError
from m3rag.serve.keys import Key

Work = Callable[[Progress], dict[str, Any]]
"""Does the work, reports its progress in passages, and returns what it has done as JSON values."""

_QUEUED = 1_000  # jobs that wait
_BYTES = 512 << 20  # of the documents of all jobs that wait
_KEPT = 1_000  # jobs that are done
_RETRY_AFTER = "10"

_log = logging.getLogger("m3rag.serve")


class StoppedError(Exception):
    """The server stops before a job is done."""


@dataclass(slots=True)
class Job:
    """The state of a job.

    Attributes:
        id: Its id, which cannot be guessed.
        owner: The key that started it, and that may ask for it.
        base: The knowledge base.
        state: "queued", "running", "done" or "failed".
        done: The number of passages that are stored.
        total: How many there are; None as long as that is not known.
        error: Why it failed: the message and the name of the error.
        changes: What it has done.
    """

    id: str
    owner: Key
    base: str
    state: str = "queued"
    done: int = 0
    total: int | None = None
    error: tuple[str, str] | None = None
    changes: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        message, code = self.error or (None, None)
        return {
            "id": self.id,
            "knowledge_base": self.base,
            "state": self.state,
            "done": self.done,
            "total": self.total,
            "error": None if message is None else {"message": message, "code": code},
            "changes": self.changes or None,
        }


class Jobs:
    """A queue of jobs and the thread that does them; any thread may call any method."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._waiting: deque[tuple[Job, Work, int]] = deque()  # with the bytes of each
        self._changed = threading.Condition()
        self._closing = False
        self._stopping = False
        self._thread: threading.Thread | None = None

    def add(self, owner: Key, base: str, work: Work, size: int) -> Job:
        """Queue a job.

        Args:
            owner: The caller's key.
            base: The name of the knowledge base.
            work: What to do.
            size: The bytes that it holds in memory.

        Raises:
            ServeError: Too much waits already, or the server stops.
        """
        job = Job(secrets.token_urlsafe(16), owner, base)
        with self._changed:
            if self._closing:
                raise ServeError(503, "The server is about to stop.", code="draining")
            held = sum(one for _, _, one in self._waiting)
            if len(self._waiting) >= _QUEUED or held + size > max(_BYTES, size):
                raise ServeError(
                    429,
                    f"{len(self._waiting):,} documents wait to be added, which is the limit. Try "
                    f"again in {_RETRY_AFTER} seconds.",
                    code="overloaded",
                    headers={"Retry-After": _RETRY_AFTER},
                )
            self._forget()
            self._jobs[job.id] = job
            self._waiting.append((job, work, size))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="m3rag-jobs", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return job

    def get(self, id: str) -> Job | None:
        """Return a job; None for an unknown id, and for a job that was done long ago."""
        return self._jobs.get(id)

    @property
    def waiting(self) -> int:
        """The number of jobs that wait."""
        return len(self._waiting)

    def close(self, seconds: float) -> None:
        """Accept no more jobs, give the others some seconds, and stop; what is stored stays."""
        end = time.monotonic() + seconds
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            thread = self._thread
        if thread is None:
            return
        thread.join(max(0.0, end - time.monotonic()))
        self._stopping = True
        thread.join()

    def _run(self) -> None:
        while self._do_next():
            pass

    def _do_next(self) -> bool:
        """Wait for a job and do it; return False at the end. Afterwards, nothing holds its work."""
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            if not self._waiting:
                return False
            job, work, _ = self._waiting.popleft()
            job.state = "running"
        self._do(job, work)
        return True

    def _do(self, job: Job, work: Work) -> None:
        def progress(_stage: str, done: int, total: int | None) -> None:
            job.done, job.total = done, total
            if self._stopping:
                raise StoppedError

        try:
            if self._stopping:
                raise StoppedError
            job.changes = work(progress)
            job.state = "done"
        except StoppedError:
            job.error = "The server stopped before it was done. Send it again.", "Stopped"
            job.state = "failed"
        except M3Error as error:
            job.error = str(error), type(error).__name__
            job.state = "failed"
        except Exception as error:
            _log.error("A job failed with a bug in m3rag.", exc_info=error)
            job.error = "The server failed on this job. Its log has the reason.", "Error"
            job.state = "failed"

    def _forget(self) -> None:
        """Forget the oldest jobs that are done, beyond a number."""
        over = [job for job in self._jobs.values() if job.state in ("done", "failed")]
        for job in over[: max(0, len(over) - _KEPT + 1)]:
            del self._jobs[job.id]
