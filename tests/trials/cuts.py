"""Cuts the power of a store at many moments of one run, and checks what is left.

python -m tests.trials.cuts --cuts 300 --seed 1 --out FOLDER     (under the shim, with a log)
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.trials.children import Child
from tests.trials.faults import Faults
from tests.trials.kills import CHOSEN, base
from tests.trials.power_cut import ENGINE, HOW, Disk, Record, read_log
from tests.trials.tally import Tally
from tests.trials.versions import Truth
from tests.trials.work import Step, Story, changes, verified, work

_BOOT = "boot"
Snapshots = dict[int, Path]
"""Copies of the engine's files, by the number of the step after which they were made."""


def _engine_folders(folder: Path) -> list[Path]:
    return [part for part in folder.iterdir() if part.name.startswith(ENGINE)]


def recorded(
    folder: Path, out: Path, steps: Sequence[Step], truth: Truth, log: Path
) -> tuple[list[Record], Snapshots]:
    """Take the steps, and return the log and copies of the engine's files."""
    snapshots: Snapshots = {}
    number = 0

    def copy(line: list[Any]) -> None:
        nonlocal number
        number += line[0] == "begin"
        if line[0] in ("begin", "ack"):
            snapshots[number] = out / f"engine-{line[0]}-{number}"
            for part in _engine_folders(folder):
                target = snapshots[number] / part.name
                with suppress(shutil.Error):  # files come and go; any mixture may be on a disk
                    shutil.copytree(part, target, dirs_exist_ok=True)

    log.unlink(missing_ok=True)
    log.touch()
    story = Story(truth)
    story.follow(Child(work, str(folder), steps), timeout=120, on_line=copy)
    assert not story.raw + story.fails, (story.raw, story.fails)
    return read_log(log), snapshots


def damage(folder: Path, rng: random.Random) -> None:
    """Tear the engine's files: their writes go through mapped memory, so anything may be left."""
    how = rng.choice(["as it was", "sectors", "sizes", "missing", "all"])
    for path in sorted(p for part in _engine_folders(folder) for p in part.rglob("*")):
        if not path.is_file() or how == "as it was" or rng.random() < 0.5:
            continue
        kind = rng.choice(["sectors", "sizes", "missing"]) if how == "all" else how
        times = path.stat()
        if kind == "missing":
            path.unlink()
            continue
        size = times.st_size
        if kind == "sizes":
            os.truncate(path, rng.choice([0, size // 2, size // 4096 * 4096, size + 4096]))
        elif size:
            with path.open("r+b") as file:
                for _ in range(rng.randint(1, 4)):
                    file.seek(rng.randrange(size) // 512 * 512)
                    n = min(rng.choice([512, 4096]), size - file.tell())
                    file.write(rng.choice([bytes(n), rng.randbytes(n)]))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # names and times came first


def rebuild(
    target: Path, state: dict[str, bytes | None], engine: Path | None, rng: random.Random
) -> None:
    """Write a folder as it is after a cut."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for name, content in sorted(state.items()):
        path = target / name
        if content is None:
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("-shm"):  # mapped memory as well
            content = rng.choice([content, rng.randbytes(len(content)), b""])
        path.write_bytes(content)
    if engine is not None and engine.exists():
        shutil.copytree(engine, target, dirs_exist_ok=True)
        damage(target, rng)


def moments(records: Sequence[Record], n: int, rng: random.Random) -> list[int]:
    """Return positions in the log: each acknowledgement, each sync and rename, and random ones."""
    chosen = [i for i, r in enumerate(records) if r.kind == "mark"]
    near = [i for i, r in enumerate(records) if r.kind in ("sync end", "rename", "unlink")]
    rest = range(len(records))
    while len(chosen) < n:
        chosen.append(rng.choice([rng.choice(near), rng.choice(rest)] if near else rest))
    return sorted(rng.sample(chosen, n))


def cut(kind: str, n: int, seed: int, out: Path, tally: Tally) -> None:
    """Cut the power n times in a run of the steps `kind`."""
    faults = Faults.here()
    assert faults is not None, "run it under the shim, with a log"
    rng = random.Random(f"{seed}/{kind}")
    folder, work_folder, boot = out / "kb", out / "after", out / _BOOT
    shutil.rmtree(folder, ignore_errors=True)
    truth = Truth()
    if kind == "old":
        truth = base(folder)
    else:
        folder.mkdir()
    steps = CHOSEN[kind]
    disk = Disk(folder)
    start, acknowledged = truth.copy(), truth.copy()
    records, snapshots = recorded(folder, out / kind, steps, truth, out / "log")
    chosen = moments(records, n, rng)
    durable, number, engine = kind == "old", 0, None
    for position, record in enumerate(disk.replay(records)):
        if record.kind == "mark":
            step, number = record.data.decode().split(), int(record.data.split()[1])
            is_durable = step[0] == "ack" and steps[number - 1][0] == "durable"
            change = steps[number - 1]
            start.set(changes(change, start), sure=False)
            acknowledged.set(changes(change, acknowledged), sure=step[0] == "ack")
            if is_durable:  # and with it everything before it
                start = acknowledged.copy()
            durable = durable or is_durable
            engine = snapshots.get(number)
        for again in range(chosen.count(position)):
            way = HOW[(position + again) % len(HOW)]
            boot.write_text(f"boot {position} {again}\n")
            faults.restart(boot)
            rebuild(work_folder, disk.after_cut(way, rng), engine, rng)
            seen, problems = verified(work_folder, start)
            lost = sum(
                versions != {None} and i not in seen for i, versions in acknowledged.allowed.items()
            )
            tally.note("passages lost that were not durable", lost)
            if (
                problems
                and not durable
                and all(p.startswith("lost: refused: FormatError") for p in problems)
            ):
                tally.note("refused before the first durable passage")
                problems = []
            what = f"{way} at record {position} ({record.kind} {Path(record.path).name})"
            tally.note(way)
            tally.add(f"power cut {seed}/{kind}: {what} in step {number}", problems, work_folder)


def main() -> None:
    """Run the trial."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    tally = Tally(options.out)
    cut("new", options.cuts // 3, options.seed, options.out, tally)
    cut("old", options.cuts - options.cuts // 3, options.seed, options.out, tally)
    tally.end()


if __name__ == "__main__":
    main()
