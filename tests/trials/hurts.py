"""Makes calls on the files of a store fail, and checks what the store makes of it.

python -m tests.trials.hurts --tries 200 --seed 1 --out FOLDER     (under the shim)
"""

from __future__ import annotations

import argparse
import errno
import random
import shutil
from pathlib import Path
from typing import Any

from tests.trials.children import Child
from tests.trials.faults import POSSIBLE, Action, Faults
from tests.trials.kills import base
from tests.trials.tally import Tally
from tests.trials.versions import Truth
from tests.trials.work import Step, Story, verified, work

STEPS: list[Step] = [
    ("open", None),
    ("search", None),
    ("add", [[f"n{i}", 5] for i in range(40)]),
    ("durable", [[f"a{i}", 6] for i in range(0, 60, 3)]),
    ("search", None),
    ("delete", [f"a{i}" for i in range(30, 40)]),
    ("optimize", None),
    ("add", [[f"m{i}", 7] for i in range(10)]),
    ("delete_where", "doc3"),
    ("search", None),
    ("close", None),
    ("open", None),
    ("search", None),
    ("look", None),
    ("add", [[f"k{i}", 8] for i in range(5)]),
    ("close", None),
]
"""A "look" ends the faults and checks everything in the open store."""

NEW: list[Step] = [("open", None), *STEPS[2:4], ("close", None), ("open", None), ("look", None)]


def one(
    faults: Faults, source: Path, folder: Path, steps: list[Step], truth: Truth, **fault: Any
) -> Story:
    """Take the steps on a copy of a folder with a fault."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    if fault:
        faults.set(**fault)
    story = Story(truth)
    story.follow(Child(work, str(folder), steps), timeout=90, on_line=lambda line: None)
    faults.off()
    return story


def fault(rng: random.Random, places: list[tuple[int, str, str, int]]) -> dict[str, Any]:
    """Return a random fault at one of the places that a run without faults has."""
    calls = sorted({call for _, _, call, _ in places})
    call = rng.choice(calls)
    phase, role, _, n = rng.choice([place for place in places if place[2] == call])
    error = rng.choice(POSSIBLE[call])
    kind = rng.choice(["once", "once", "from then on", "by chance", "full", "short"])
    common = {"action": Action.FAIL, "error": error, "calls": [call]}
    if kind == "once":
        return {
            **common,
            "roles": [role],
            "phase": phase,
            "nth": rng.choice([1, n, rng.randint(1, n)]),
        }
    if kind == "from then on":
        return {**common, "nth": rng.randint(1, 3 * n), "span": 0}
    if kind == "full":
        writing = ["write", "allocate", "truncate", "mkdir"]
        full = {"calls": writing, "error": rng.choice([errno.ENOSPC, errno.EDQUOT])}
        return {**common, **full, "nth": rng.randint(1, 200), "span": rng.choice([0, 0, 50])}
    chance = {"chance": rng.choice([0.01, 0.1, 0.5]), "seed": rng.randrange(1 << 30)}
    if kind == "short":
        return {"action": Action.SHORT, "calls": ["read", "write"], **chance}
    return {**common, "calls": rng.choice([[call], sorted(POSSIBLE)]), **chance}


def judged(story: Story, steps: list[Step]) -> list[str]:
    """Return what is wrong with a run, apart from the store that it left."""
    problems = [f"raw: {raw}" for raw in story.raw] + story.looked
    if story.hung:
        problems.append(f"hung: the worker in {story.hung_in}")
    return problems


def failing_sync(faults: Faults, out: Path, truth: Truth, tally: Tally) -> None:
    """A durable add whose sync of the log fails must not be acknowledged."""
    for nth in range(1, 4):
        mine = truth.copy()
        spec = {"calls": ["sync"], "roles": ["main"], "phase": 2, "nth": nth, "only": "-wal"}
        steps: list[Step] = [
            ("open", None),
            ("durable", [["d", 9]]),
            ("look", None),
            ("close", None),
        ]
        story = one(
            faults,
            out / "old",
            out / "kb",
            steps,
            mine,
            action=Action.FAIL,
            error=errno.EIO,
            **spec,
        )
        problems = judged(story, steps)
        if faults.hits and not any(fail.startswith("durable") for fail in story.fails):
            problems.append("wrong: acknowledged although the sync failed")
        tally.note("syncs of the log failed", faults.hits)
        tally.add(f"failing sync {nth}", problems + verified(out / "kb", mine)[1], out / "kb")


def run(tries: int, seed: int, out: Path, tally: Tally) -> None:
    """Try random faults on an empty folder and on one with passages."""
    faults = Faults.here()
    assert faults is not None, "run it under the shim"
    truths = {"new": Truth(), "old": base(out / "old")}
    (out / "new").mkdir()
    steps = {"new": NEW, "old": STEPS}
    places = {}
    for name in steps:
        story = one(faults, out / name, out / "kb", steps[name], truths[name].copy())
        assert not story.raw + story.fails + story.looked, (story.raw, story.fails, story.looked)
        places[name] = story.calls
    failing_sync(faults, out, truths["old"], tally)
    for k in range(tries):
        rng = random.Random(f"{seed}/{k}")
        name = rng.choice(["new", "old", "old", "old"])
        spec, truth = fault(rng, places[name]), truths[name].copy()
        story = one(faults, out / name, out / "kb", steps[name], truth, **spec)
        problems = judged(story, steps[name])
        tally.note("calls hit", faults.hits)
        tally.note("errors of m3rag's own", len(story.fails))
        _, more = verified(out / "kb", truth)
        shown = {**spec, "action": spec["action"].name}
        tally.add(f"fault {seed}/{k}: {name} {shown}", problems + more, out / "kb")


def main() -> None:
    """Run the trial."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    tally = Tally(options.out)
    run(options.tries, options.seed, options.out, tally)
    tally.end()


if __name__ == "__main__":
    main()
