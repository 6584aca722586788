"""Random operations, reopening and kills, against the store in memory."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import hypothesis
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from m3rag.errors import StorageError
from m3rag.stores.filters import Equals, Filter, In, Not, Or, Range
from m3rag.stores.memory import MemoryStore
from tests.stores.stores import FACTORIES
from tests.trials.children import MEMORY
from tests.trials.record import SEED, record
from tests.trials.remote import LocalStore, RemoteStore
from tests.trials.versions import (
    CHANNELS,
    DOCUMENTS,
    TOLERANCE,
    Truth,
    check,
    expectations,
    passage,
    points,
    query,
    seen_in,
)

PERSISTENT = [name for name in FACTORIES if name != "memory"]

ids = st.lists(st.integers(0, 24).map("p{}".format), min_size=1, max_size=10, unique=True)
documents = st.integers(0, DOCUMENTS - 1).map("doc{}".format)
delays = st.sampled_from([0.0, 0.001, 0.003, 0.01, 0.03])


@st.composite
def filters(draw):
    """Return a filter with one condition or two."""
    one: st.SearchStrategy[Filter] = st.one_of(
        st.integers(0, 1).map(lambda n: Equals("par", n)),
        documents.map(lambda d: Equals("document_id", d)),
        ids.map(lambda some: In("id", tuple(some))),
        st.integers(0, 60).map(lambda n: Range("v", gte=n)),
        st.integers(0, 60).map(lambda n: Range("v", lt=n)),
    )
    first = draw(one)
    return draw(st.sampled_from([first, Not(first), Or((first, draw(one)))]))


class StoreMachine(RuleBasedStateMachine):
    """A store in this process, or in a child process that may be killed."""

    kind: ClassVar[str]
    in_child: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="machine", dir=MEMORY))
        self.truth: dict[str, int] = {}
        self.version = 0
        self.store: Any = None

    @initialize()
    def open(self):
        self.store = (RemoteStore if self.in_child else LocalStore)(self.kind, self.folder)

    def teardown(self):
        try:
            if self.store is not None:
                self.check()
                self.store.close()
                self.open()
                self.check()
                self.store.close()
        finally:
            shutil.rmtree(self.folder)

    # Changes

    @rule(some=ids, durable=st.booleans())
    def add(self, some, durable):
        items = self.new_versions(some)
        self.store.add(items, durable=durable)
        self.truth.update(items)

    @rule(some=ids)
    def delete(self, some):
        assert self.store.delete([*some, "missing"]) == sum(i in self.truth for i in some)
        self.truth = {i: v for i, v in self.truth.items() if i not in some}

    @rule(where=filters())
    def delete_where(self, where):
        memory = self.memory()
        assert self.store.delete_where(where) == memory.delete_where(where)
        self.truth = seen_in(memory)[0]

    @rule()
    def optimize(self):
        self.store.optimize()

    # Questions

    @rule(where=filters())
    def count(self, where):
        memory = self.memory()
        assert self.store.count() == memory.count()
        assert self.store.count(where) == memory.count(where)

    @rule(some=ids)
    def get(self, some):
        found = self.store.get(some)
        assert found == [passage(i, self.truth[i]) if i in self.truth else None for i in some]

    @rule(
        channel=st.sampled_from(CHANNELS),
        seed=st.integers(0, 9),
        k=st.integers(1, 30),
        where=st.none() | filters(),
    )
    def search(self, channel, seed, k, where):
        plan = replace(query(seed, k, channel), where=where)
        [found] = self.store.search([plan])
        memory = self.memory()
        matching = {p.id for p in memory.scan(where, None, 1000)[0]}
        [right] = expectations(points(self.truth.items()), [plan]) if self.truth else [{}]
        ranked = sorted((right[i][channel] for i in matching), reverse=True)
        if channel in ("sparse", "bm25"):
            ranked = [score for score in ranked if score > 0]
        assert len(set(found.ids)) == len(found.ids) == min(k, len(ranked))
        assert matching.issuperset(found.ids)
        for name in plan.score:
            for i, score in zip(found.ids, found.scores[name].tolist(), strict=True):
                assert score == pytest.approx(right[i][name], abs=TOLERANCE[name]), (name, i)
        if len(found.ids):
            border = ranked[len(found.ids) - 1] - 2 * TOLERANCE[channel]
            assert min(right[i][channel] for i in found.ids) >= border

    # Ends

    @rule()
    def reopen(self):
        self.store.close()
        self.open()
        self.check()

    @rule()
    def kill_the_engine(self):
        if (pid := self.store.engine) is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(StorageError):  # one request may say so
            self.store.search([query(0, 3, "dense")])
        self.check()

    @rule(some=ids, delay=delays)
    def kill_the_engine_during_an_add(self, some, delay):
        if (pid := self.store.engine) is None:
            return
        items = self.new_versions(some)
        timer = threading.Timer(delay, _kill, [pid])
        timer.start()
        sure = True
        try:
            self.store.add(items)
        except StorageError:
            sure = False
        timer.join()
        with contextlib.suppress(StorageError):
            self.store.search([query(0, 3, "dense")])
        self.settle(dict(items), sure=sure)

    # Helpers

    def new_versions(self, some):
        self.version += 1
        return [(i, self.version) for i in some]

    def memory(self):
        memory = MemoryStore()
        if self.truth:
            memory.add(points(self.truth.items()))
        return memory

    def check(self):
        _, problems = check(self.store, Truth({i: [v] for i, v in self.truth.items()}))
        assert problems == []

    def settle(self, changes, *, sure):
        """Check the store after changes that may have happened, and take what it has."""
        truth = Truth({i: [v] for i, v in self.truth.items()})
        truth.set(changes, sure=sure)
        self.truth, problems = check(self.store, truth)
        assert problems == []


class ChildMachine(StoreMachine):
    """The store is in a child process."""

    in_child = True

    @rule()
    def kill_the_child(self):
        self.store.kill()
        self.open()
        self.check()

    @rule(some=ids, durable=st.booleans(), delay=delays)
    def kill_the_child_during_an_add(self, some, durable, delay):
        items = self.new_versions(some)
        self.store.begin("add", items, durable=durable)
        self.after_a_kill(delay, dict(items))

    @rule(some=ids, delay=delays)
    def kill_the_child_during_a_delete(self, some, delay):
        self.store.begin("delete", some)
        self.after_a_kill(delay, dict.fromkeys(some))

    @rule(name=st.sampled_from(["optimize", "close"]), delay=delays)
    def kill_the_child_during(self, name, delay):
        self.store.begin(name)
        self.after_a_kill(delay, {})

    def after_a_kill(self, delay, changes):
        time.sleep(delay)
        sure = self.store.kill()
        self.open()
        self.settle(changes, sure=sure)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def run(kind: str, machine: type[StoreMachine], examples: int, steps: int, seed: int | None) -> int:
    """Run a machine and return the number of examples."""
    tried = 0

    class Machine(machine):  # type: ignore[misc, valid-type]  # a class made at run time
        def __init__(self):
            nonlocal tried
            tried += 1
            super().__init__()

    Machine.kind = kind
    options = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        derandomize=seed is None,
        suppress_health_check=list(HealthCheck),
    )
    target = Machine if seed is None else hypothesis.seed(seed)(Machine)
    run_state_machine_as_test(target, settings=options)
    return tried


@pytest.mark.parametrize("machine", [StoreMachine, ChildMachine])
@pytest.mark.parametrize("kind", PERSISTENT)
def test_a_few_histories(kind, machine):
    assert run(kind, machine, 3, 12, None) > 0


@pytest.mark.trial
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("machine", [StoreMachine, ChildMachine])
@pytest.mark.parametrize("kind", PERSISTENT)
def test_many_histories(kind, machine):
    tried = run(kind, machine, 40, 40, SEED)
    record(f"histories, {kind}, {machine.__name__}", tried=tried)
