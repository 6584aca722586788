"""Fills a small volume with a store, and makes random trouble on it.

python -m tests.trials.volumes story --mount FOLDER --megabytes 100 --seed 1 --out FOLDER
python -m tests.trials.volumes trouble --mount FOLDER --minutes 1 --seed 1 --out FOLDER
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.trials.children import Child
from tests.trials.tally import Tally
from tests.trials.versions import Truth, document
from tests.trials.work import Step, Story, Worker, engine_of, verified

ALWAYS = ("open", "close", "search", "delete", "delete_where", "look")
"""What works on a full disk."""

_KINDS = (
    *("add", "again", "delete", "delete_where", "optimize"),
    *("search", "space", "kill", "reopen", "look"),
)


def free(folder: Path) -> int:
    """Return the free bytes of a volume."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def fill(folder: Path, left: int) -> None:
    """Write a file until the volume has `left` bytes free, or less."""
    with (folder / "filler").open("ab") as file:
        for block in (1 << 20, 1 << 16, 4096):
            with suppress(OSError):
                while free(folder) - block >= left:
                    file.write(bytes(block))
                    file.flush()


def empty(folder: Path) -> None:
    """Remove that file."""
    (folder / "filler").unlink(missing_ok=True)


def remount(folder: Path, options: str) -> None:
    """Change a mounted volume."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


class VolumeWorker(Worker):
    """Can also fill the volume, empty it, and kill the engine."""

    def _do(self, op: str, argument: Any) -> None:
        volume = self._folder.parent
        if op == "fill":
            fill(volume, argument)
        elif op == "empty":
            empty(volume)
        elif op == "kill":
            pid = self._store and engine_of(self._store)
            if pid:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        elif op == "wait":
            time.sleep(argument)
        else:
            super()._do(op, argument)


def _work(say: Callable[..., None], folder: str, steps: Iterator[Step]) -> None:
    VolumeWorker(Path(folder), say).run(steps)


def told(folder: Path, steps: Iterator[Step], truth: Truth, timeout: float) -> Story:
    """Take steps in a child process."""
    story = Story(truth)
    story.follow(Child(_work, str(folder), steps), timeout=timeout, on_line=lambda line: None)
    return story


def judged(story: Story) -> list[str]:
    """Return what is wrong with a story on a full volume."""
    problems = [f"raw: {raw}" for raw in story.raw] + story.looked
    problems += [f"hung: {story.hung_in}"] * story.hung
    problems += [f"wrong: refused: {f}" for f in story.fails if f.split(":")[0] in ALWAYS]
    if problems:
        problems[0] += f"\n    after: {'; '.join(story.history[-25:])}"
    if story.status:
        problems.append(f"raw: the process died with status {story.status}")
    return problems


def big(n: int, start: int) -> Iterator[Step]:
    """Yield additions of 30 long passages each, and at last a look."""
    for k in range(start, start + n):
        yield "add", [[f"big{k}-{i}", 1] for i in range(30)]


def story(mount: Path, megabytes: int, seed: int, tally: Tally) -> None:
    """Fill a volume, work on it, close, reopen, read it read-only, and let it grow."""
    folder, truth = mount / "kb", Truth()
    folder.mkdir()

    def act(name: str, steps: Iterator[Step]) -> Story:
        found = told(folder, steps, truth, 300)
        tally.add(f"volume of {megabytes} MB, {name}", judged(found))
        tally.note("refused", len(found.fails))
        return found

    n = megabytes * 2  # 30 passages of 20 KB are about 0.7 MB
    few = [f"big{k}-{i}" for k in range(3) for i in range(5)]
    filling = act("adding", iter([("open", None), *big(n, 0), ("search", None), ("look", None)]))
    tally.note("passages acknowledged", filling.passages)
    if not filling.fails:
        tally.add("filling", ["wrong: the volume was never full"])
    steps: list[Step] = [("open", None), ("optimize", None), ("search", None), ("look", None)]
    act("optimizing", iter([*steps, ("delete", few[:5]), ("look", None), ("close", None)]))
    fill(mount, 0)
    steps = [("open", None), ("search", None), ("delete", few[5:10]), ("look", None)]
    act("no byte free", iter([*steps, ("delete_where", "doc5"), ("look", None), ("close", None)]))
    remount(mount, "ro")
    reading: list[Step] = [("open", None), ("search", None), ("look", None), ("close", None)]
    act("read-only and full", iter(reading))
    remount(mount, "rw")
    empty(mount)
    remount(mount, "ro")
    act("read-only", iter(reading))
    remount(mount, f"rw,size={4 * megabytes}m")
    grown = act("grown", iter([("open", None), ("look", None), ("optimize", None), *big(2, n)]))
    if grown.fails:
        tally.add("grown", [f"wrong: {fail}" for fail in grown.fails])
    tally.add("at last", verified(folder, truth)[1], folder)


def trouble_steps(seed: str, minutes: float) -> Iterator[Step]:
    """Yield random steps for some minutes: work, little space, no space, kills, reopening."""
    rng, end = random.Random(seed), time.monotonic() + 60 * minutes
    alive: dict[str, None] = {}
    yield "open", None
    for n in itertools.count(1):
        if time.monotonic() > end:
            break
        some = rng.sample(sorted(alive), min(len(alive), rng.choice([1, 5, 30])))
        kind = rng.choices(
            _KINDS,
            [30, 12, 12, 3, 6, 8, 14, 5, 6, 6],
        )[0]
        if kind in ("add", "again"):
            if kind == "add" or not some:
                prefix = rng.choice(["big", "p"])
                some = [f"{prefix}{n}-{i}" for i in range(rng.choice([1, 10, 60]))]
            alive.update(dict.fromkeys(some))
            yield rng.choice(["add", "durable"]), [[i, n] for i in some]
        elif kind == "delete":
            alive = dict.fromkeys(i for i in alive if i not in some)
            yield "delete", some
        elif kind == "delete_where":
            gone = f"doc{rng.randrange(7)}"
            alive = dict.fromkeys(i for i in alive if document(i) != gone)
            yield "delete_where", gone
        elif kind == "space":
            yield "empty", None
            if rng.random() < 0.7:
                yield "fill", rng.choice([0, 0, 100_000, 1 << 20, 5 << 20, 30 << 20])
        elif kind == "reopen":
            yield "close", None
            yield "open", None
        else:
            yield kind, None
    yield "look", None
    yield "close", None


def trouble(mount: Path, minutes: float, seed: int, tally: Tally) -> None:
    """Make random trouble in episodes; between them the process is new and all is checked."""
    folder, truth = mount / "kb", Truth()
    folder.mkdir()
    end, k = time.monotonic() + 60 * minutes, 0
    while time.monotonic() < end:
        k += 1
        left = min(0.5, (end - time.monotonic()) / 60)
        found = told(folder, trouble_steps(f"{seed}/{k}", left), truth, 60 * left + 90)
        problems = judged(found)
        empty(mount)
        seen, more = verified(folder, truth)
        tally.note("operations acknowledged", found.steps)
        tally.note("refused", len(found.fails))
        tally.add(f"trouble {seed}/{k}", problems + more, folder)
        truth.settle(seen)


def main() -> None:
    """Run the trial."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("how", choices=["story", "trouble"])
    parser.add_argument("--mount", type=Path, required=True)
    parser.add_argument("--megabytes", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    tally = Tally(options.out)
    if options.how == "story":
        story(options.mount, options.megabytes, options.seed, tally)
    else:
        trouble(options.mount, options.minutes, options.seed, tally)
    tally.end()


if __name__ == "__main__":
    main()
