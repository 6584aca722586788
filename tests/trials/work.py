"""Programs that use a store and say what they do: the victims of kills, faults and power cuts."""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch  # noqa: F401  # once here, before the forks, instead of in each child

from m3rag.errors import M3Error
from m3rag.stores.edge.store import EdgeStore
from m3rag.stores.filters import Equals
from tests.stores.stores import COLBERT_DIM, DIM
from tests.trials.children import Child, call
from tests.trials.faults import Faults, mark
from tests.trials.versions import DOCUMENTS, Truth, check, document, points, query, seen_in

QUANTIZE_FROM = 120  # low, so that `optimize` has all its work to do with few passages

Step = tuple[str, Any]
"""An operation and its argument, as JSON values."""

CHANGES = ("add", "durable", "delete", "delete_where")


def opened(folder: Path) -> EdgeStore:
    """Open the store that all trials use."""
    return EdgeStore(folder, dim=DIM, colbert_dim=COLBERT_DIM, quantize_from=QUANTIZE_FROM)


def engine_of(store: EdgeStore) -> int | None:
    """Return the process id of the engine; None if it does not run."""
    return getattr(getattr(store, "process", None), "pid", None)


def changes(step: Step, truth: Truth) -> dict[str, int | None]:
    """Return the versions that a step leaves, by id."""
    op, argument = step
    if op in ("add", "durable"):
        return dict(argument)
    if op == "delete":
        return dict.fromkeys(argument)
    if op == "delete_where":
        return {i: None for i in truth.allowed if document(i) == argument}
    return {}


def some_steps(seed: int, generation: int, ids: Sequence[str], n: int) -> Iterator[Step]:
    """Yield n random steps after the opening of a store that has `ids`, and its closing."""
    rng, alive = random.Random(f"{seed}/{generation}"), dict.fromkeys(ids)
    version = generation * 10_000
    for step in range(n):
        version += 1
        kind = rng.choices(
            ["new", "again", "delete", "delete_where", "optimize", "reopen", "search"],
            [40, 20, 12, 4, 12, 8, 8],
        )[0]
        some = rng.sample(sorted(alive), min(len(alive), rng.choice([1, 5, 30])))
        if kind in ("new", "again"):
            if kind == "new" or not some:
                some = [f"g{generation}s{step}i{i}" for i in range(rng.choice([1, 5, 20, 60]))]
            alive.update(dict.fromkeys(some))
            yield rng.choice(["add", "add", "durable"]), [[i, version] for i in some]
        elif kind == "delete":
            alive = dict.fromkeys(i for i in alive if i not in some)
            yield "delete", some
        elif kind == "delete_where":
            gone = f"doc{rng.randrange(DOCUMENTS)}"
            alive = dict.fromkeys(i for i in alive if document(i) != gone)
            yield "delete_where", gone
        elif kind == "reopen":
            yield "close", None
            yield "open", None
        else:
            yield kind, None
    yield "close", None


class Worker:
    """Takes steps with a store, and says "begin", then "ack", "fail" or "raw" for each of them."""

    def __init__(self, folder: Path, say: Callable[..., None]) -> None:
        self._folder = folder
        self._say = say
        self._faults = Faults.here()
        self._store: EdgeStore | None = None
        self._phase = 0
        if self._faults:
            self._faults.claim()

    def run(self, steps: Iterator[Step] | Sequence[Step]) -> None:
        """Take all steps; end early if the store cannot be opened."""
        for step in steps:
            if self._store is None and step[0] not in ("open", "close"):
                return
            self._take(step)

    def _take(self, step: Step) -> None:
        self._phase += 1
        if self._faults:
            self._faults.begin(self._phase)
        mark(f"begin {self._phase}")
        self._say("begin", step)
        try:
            self._do(*step)
        except M3Error as error:
            self._say("fail", f"{type(error).__name__}: {error}"[:500])
        except Exception:
            self._say("raw", traceback.format_exc()[-3000:])
        else:
            mark(f"ack {self._phase}")
            self._say("ack")
        if self._faults:
            self._say("calls", self._phase, [[*key, n] for key, n in self._faults.counts().items()])
        if self._store is not None:
            self._say("engine", engine_of(self._store))

    def _do(self, op: str, argument: Any) -> None:
        if op == "open":
            self._say("opening")
            self._store = self._store or opened(self._folder)
            return
        store = self._store
        assert store is not None or op == "close"
        if op == "close":
            self._store = None
            if store is not None:
                store.close()
        elif op == "add":
            store.add(points(argument))
        elif op == "durable":
            store.add(points(argument), durable=True)
        elif op == "delete":
            store.delete(argument)
        elif op == "delete_where":
            store.delete_where(Equals("document_id", argument))
        elif op == "optimize":
            store.optimize()
        elif op == "look":
            if self._faults:
                self._faults.off()
            seen, _ = seen_in(store)
            self._say("seen", *check(store, Truth({i: [v] for i, v in seen.items()})))
        elif op == "search":
            store.search([query(0, 10, channel) for channel in ("dense", "sparse", "colbert")])
        else:
            raise AssertionError(op)


def work(say: Callable[..., None], folder: str, steps: Sequence[Step]) -> None:
    """Take steps in a child process."""
    Worker(Path(folder), say).run(steps)


def verify(say: Callable[..., None], folder: str, allowed: dict[str, list[int | None]]) -> None:
    """Open the store in a child process and say what it has and what is wrong with it."""
    try:
        store = opened(Path(folder))
    except M3Error as error:
        say("refused", f"{type(error).__name__}: {error}"[:1000])
        return
    try:
        seen, problems = check(store, Truth(allowed))
        # what a search built, a second look must not change
        _, more = check(store, Truth({i: [v] for i, v in seen.items()}), seed=9)
    except M3Error as error:
        say("failed", f"{type(error).__name__}: {error}"[:1000])
        return
    finally:
        store.close()
    say("seen", seen, problems + more)


@dataclass
class Story:
    """What a worker said, applied to the truth.

    Attributes:
        truth: What the store may hold; changed as the worker reports.
        pending: The step in progress.
        engine: The process id of the engine, as far as it is known.
        steps: The number of steps that were acknowledged.
        passages: The number of passages of acknowledged steps.
        fails: The errors of m3rag's own.
        raw: The other errors.
        calls: The calls of each phase: `(phase, role, call, number)`.
        looked: What "look" steps found wrong.
        hung: Whether the worker had to be ended.
        hung_in: The step in which it hung.
        status: The exit status of its process.
        history: The steps so far and what came of them, in short.
    """

    truth: Truth
    pending: Step | None = None
    engine: int | None = None
    steps: int = 0
    passages: int = 0
    fails: list[str] = field(default_factory=list)
    raw: list[str] = field(default_factory=list)
    calls: list[tuple[int, str, str, int]] = field(default_factory=list)
    looked: list[str] = field(default_factory=list)
    hung: bool = False
    hung_in: str = ""
    status: int = 0
    history: list[str] = field(default_factory=list)

    def hear(self, line: list[Any]) -> None:
        """Take in one line of a worker."""
        kind, *values = line
        if kind == "begin":
            self.pending = (values[0][0], values[0][1])
        elif kind == "engine":
            self.engine = values[0]
        elif kind == "seen":
            self.looked += self.truth.problems(values[0]) + values[1]
            self.truth.settle(values[0])
        elif kind == "calls":
            self.calls += [(values[0], role, call, n) for role, call, n in values[1]]
        elif kind in ("ack", "fail", "raw"):
            if kind == "ack":
                self.steps += 1
            elif kind == "fail":
                self.fails.append(f"{self.pending and self.pending[0]}: {values[0]}")
            else:
                self.raw.append(str(values[0]))
            self.settle(sure=kind == "ack")

    def settle(self, *, sure: bool) -> None:
        """End the step in progress."""
        if self.pending is not None:
            argument = f" {str(self.pending[1])[:24]}" * (self.pending[1] is not None)
            self.history.append(f"{self.pending[0]}{argument}{'' if sure else ' failed'}")
            changed = changes(self.pending, self.truth)
            self.truth.set(changed, sure=sure)
            self.passages += len(changed) if sure else 0
        self.pending = None

    def follow(
        self, child: Child, *, timeout: float, on_line: Callable[[list[Any]], float | None]
    ) -> None:
        """Listen to a worker until it ends.

        Args:
            child: The worker.
            timeout: The seconds after which it is taken for hung.
            on_line: Called with each line; it returns the seconds from now at which it wants to be
                called again with ["due"], or None.
        """
        end, due = time.monotonic() + timeout, None
        while not child.ended:
            until = end if due is None else min(due, end)
            for line in child.lines(max(0.0, until - time.monotonic())):
                self.hear(line)
                wait = on_line(line)
                if wait is not None:
                    due = time.monotonic() + wait
                    break
            if due is not None and time.monotonic() >= due:
                due = None
                on_line(["due"])
            elif time.monotonic() >= end and not child.ended:
                self.hung, self.hung_in = True, str(self.pending and self.pending[0])
                break
        child.kill()
        self.status = child.status or 0
        self.settle(sure=False)


def verified(
    folder: Path, truth: Truth, *, timeout: float = 60
) -> tuple[dict[str, int], list[str]]:
    """Check a store in a child process, and return what it has and the problems.

    A problem begins with "lost", "wrong", "hung" or "raw".
    """
    allowed = {i: sorted(v, key=str) for i, v in truth.allowed.items()}
    seen: dict[str, int] = {}
    problems: list[str] = []
    for kind, *values in call(verify, str(folder), allowed, timeout=timeout):
        if kind == "seen":
            seen, problems = values[0], problems + values[1]
        elif kind in ("refused", "failed"):
            problems.append(f"lost: {kind}: {values[0]}")
        elif kind == "died":
            problems.append(f"raw: the checking process died with status {values[0]}")
        else:
            problems.append(f"{kind}: {values[0] if values else 'the check took too long'}")
    return seen, problems
