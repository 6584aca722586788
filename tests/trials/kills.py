"""Kills processes of a store at random moments or at chosen calls, and checks what is left.

python -m tests.trials.kills random --kills 100 --seed 1 --out FOLDER
python -m tests.trials.kills calls --kills 300 --seed 1 --out FOLDER     (under the shim)
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from m3rag.errors import M3Error
from tests.trials.children import Child, children_of
from tests.trials.faults import Action, Faults
from tests.trials.tally import Tally
from tests.trials.versions import Truth, points
from tests.trials.work import Step, Story, opened, some_steps, verified, work

VICTIMS = ("parent", "engine", "both", "engine, then parent")
MOMENTS = ("add", "durable", "delete", "delete_where", "optimize", "close", "open", "opening")
_WEIGHTS = (4, 2, 2, 1, 6, 3, 2, 2)

CHOSEN: dict[str, list[Step]] = {
    "new": [
        ("open", None),
        ("add", [[f"n{i}", 1] for i in range(30)]),
        ("search", None),
        ("durable", [[f"n{i}", 2] for i in range(5, 40)]),
        ("optimize", None),
        ("close", None),
        ("open", None),
        ("close", None),
    ],
    "old": [
        ("open", None),
        ("add", [[f"n{i}", 5] for i in range(40)]),
        ("add", [[f"a{i}", 6] for i in range(0, 60, 3)]),
        ("search", None),
        ("delete", [f"a{i}" for i in range(30, 40)]),
        ("optimize", None),
        ("durable", [[f"m{i}", 7] for i in range(10)]),
        ("delete_where", "doc3"),
        ("optimize", None),
        ("close", None),
    ],
}
"""Steps on an empty folder and on one with passages, for kills at chosen calls."""


def kill(pid: int | None) -> None:
    """Kill a process if it is there."""
    if pid:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def shoot(victim: str, worker: int, engine: int | None, rng: random.Random) -> None:
    """Kill the worker, its engine, or both."""
    engines = children_of(worker) if engine is None else [engine]
    for who in {"parent": "p", "engine": "e", "both": "pe"}.get(victim, "ep"):
        for pid in [worker] if who == "p" else engines:
            kill(pid)
        if victim == VICTIMS[3]:
            time.sleep(rng.uniform(0, 0.05))


class Moment:
    """Kills a worker some time after the n-th beginning of an operation."""

    def __init__(self, rng: random.Random, child: Child, story: Story) -> None:
        self.victim = rng.choice(VICTIMS)
        self.wanted = rng.choices(MOMENTS, _WEIGHTS)[0]
        self.during: str | None = None
        delays = [0.0, rng.uniform(0, 0.005), rng.uniform(0, 0.05), rng.uniform(0, 0.3)]
        self.delay = rng.choice([*delays, rng.uniform(0, 1)])
        self._nth, self._seen = (1 if self.wanted == "opening" else rng.randrange(1, 4)), 0
        self._rng, self._child, self._story = rng, child, story

    def __str__(self) -> str:
        return f"{self.victim} {self.delay * 1000:.1f} ms after {self.wanted} {self._nth}"

    def __call__(self, line: list[Any]) -> float | None:
        """See `Story.follow`."""
        if line[0] == "due":
            self.during = self._story.pending[0] if self._story.pending else "idle"
            shoot(self.victim, self._child.pid, self._story.engine, self._rng)
            return None
        starts = line[0] == "opening" if self.wanted == "opening" else line[0] == "begin"
        if starts and (self.wanted == "opening" or line[1][0] == self.wanted):
            self._seen += 1
            if self._seen == self._nth:
                return self.delay
        return None


def recover(say: Callable[..., None], folder: str) -> None:
    """Open a store and optimize it, to be killed meanwhile."""
    try:
        store = opened(Path(folder))
        say("open")
        store.optimize()
        store.close()
    except M3Error:
        pass  # the check that follows opens it as well


def kill_recovery(folder: Path, rng: random.Random) -> None:
    """Kill a process and its engine while it opens the store after a kill."""
    child = Child(recover, str(folder))
    for _ in child.lines(rng.uniform(0, 0.8)):
        pass
    engines = [] if child.ended else children_of(child.pid)
    child.kill()
    for engine in engines:
        kill(engine)


def random_kills(kills: int, seed: int, out: Path, tally: Tally) -> None:
    """Kill at random moments; the folder lives on from kill to kill for some time."""
    folder, truth = out / "kb", Truth()
    n = 0
    while tally.tried < kills and n < 3 * kills:
        n += 1
        rng = random.Random(f"{seed}/{n}")
        if not folder.exists() or rng.random() < 0.08:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            truth = Truth()
        story = Story(truth)
        steps = [("open", None), *some_steps(seed, n, sorted(truth), 18)]
        child = Child(work, str(folder), steps)
        moment = Moment(rng, child, story)
        story.follow(child, timeout=90, on_line=moment)
        problems = [f"raw: {raw}" for raw in story.raw] + ["hung: the worker"] * story.hung
        if moment.during is not None and rng.random() < 0.35:
            kill_recovery(folder, rng)
            tally.note("kills of the recovery")
        seen, more = verified(folder, truth)
        tally.note("passages acknowledged", story.passages)
        tally.note("operations acknowledged", story.steps)
        if moment.during is None and not problems + more:
            truth.settle(seen)
            continue  # it ended before its moment came
        tally.note(f"killed in {moment.during}")
        tally.add(f"random kill {seed}/{n}: {moment}", problems + more, folder)
        truth.settle(seen)
        if problems + more:
            shutil.rmtree(folder)


def base(folder: Path) -> Truth:
    """Make a folder with 80 passages, some of them replaced."""
    folder.mkdir()
    store = opened(folder)
    store.add(points((f"a{i}", 1) for i in range(80)))
    store.optimize()
    store.add(points((f"a{i}", 2) for i in range(0, 20, 2)))
    store.close()
    return Truth({f"a{i}": [2 if i < 20 and i % 2 == 0 else 1] for i in range(80)})


def chosen_kills(kills: int, seed: int, out: Path, tally: Tally) -> None:
    """Kill at chosen calls: before one, after it, or in the middle of a write."""
    faults = Faults.here()
    assert faults is not None, "run it under the shim"
    rng = random.Random(f"{seed}/calls")
    truths = {"new": Truth(), "old": base(out / "old")}
    (out / "new").mkdir()
    folder = out / "kb"
    places = []
    for name, steps in CHOSEN.items():
        story = _one_run(faults, out / name, folder, steps, truths[name].copy())
        assert not story.raw + story.fails, (story.raw, story.fails)
        places += [(name, *calls) for calls in story.calls]
    calls = {call for _, _, _, call, _ in places}
    for k in range(kills):
        wanted = sorted(calls)[k % len(calls)]  # each kind of call equally often
        name, phase, role, call, n = rng.choice([p for p in places if p[3] == wanted])
        actions = [Action.KILL_BEFORE, Action.KILL_AFTER] + [Action.KILL_TORN] * (call == "write")
        action, nth = rng.choice(actions), rng.choice([1, n, rng.randint(1, n)])
        truth = truths[name].copy()
        aim = {"calls": [call], "roles": [role], "nth": nth, "phase": phase}
        story = _one_run(faults, out / name, folder, CHOSEN[name], truth, action=action, **aim)
        faults.off()
        problems = [f"raw: {raw}" for raw in story.raw] + ["hung: the worker"] * story.hung
        tally.note(f"at {call}" if faults.hits else "missed")
        _, more = verified(folder, truth)
        step = CHOSEN[name][phase - 1][0]
        what = f"{action.name} {role} at {call} {nth} of {n} in step {phase} ({step}) of {name!r}"
        tally.add(f"chosen kill {seed}/{k}: {what}", problems + more, folder)


def _one_run(
    faults: Faults, source: Path, folder: Path, steps: list[Step], truth: Truth, **aim: Any
) -> Story:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    if aim:
        faults.set(**aim)
    story = Story(truth)
    story.follow(Child(work, str(folder), steps), timeout=90, on_line=lambda line: None)
    return story


def main() -> None:
    """Run the trial that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("how", choices=["random", "calls"])
    parser.add_argument("--kills", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    tally = Tally(options.out)
    run = random_kills if options.how == "random" else chosen_kills
    run(options.kills, options.seed, options.out, tally)
    tally.end()


if __name__ == "__main__":
    main()
