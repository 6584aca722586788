"""Damages the files of an index in many ways and compares what it shows with the undamaged one.

python -m tests.trials.mutations --mode stored --tries 300 --seed 1 --out FOLDER
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.trials.indexes import MODES, View, Viewer, copied, differences
from tests.trials.tally import Tally

_TIMEOUT_S = 120  # ample on a busy machine; a mutation takes less than a second
_BLOCK = 512

Mutation = Callable[[Path, Path, random.Random], str | None]
"""Damages a file of an index; it gets the folders of other indexes, and returns what it did."""


def mutate(path: Path, sources: dict[str, Path], rng: random.Random) -> str:
    """Damage one file and return what was done."""
    name = path.name
    while True:
        how = rng.choice(sorted(WAYS))
        done = WAYS[how](path, sources, rng)
        if done is not None:
            return f"{how} {done} of {name}".replace("  ", " ")


def _write(path: Path, at: int, data: bytes) -> str | None:
    with path.open("r+b") as file:
        file.seek(at)
        if file.read(len(data)) == data:
            return None  # it was so
        file.seek(at)
        file.write(data)
    return f"at {at} of {path.stat().st_size}"


def _place(path: Path, rng: random.Random) -> int | None:
    """Return a position, near the beginning or in what is not a hole more often than by size."""
    size = path.stat().st_size
    if not size:
        return None
    if rng.random() < 0.3:
        return rng.randrange(min(size, 200))
    content = path.read_bytes()
    blocks = [b for b in range(0, size, _BLOCK) if content[b : b + _BLOCK].strip(b"\0")]
    start = rng.choice(blocks) if blocks and rng.random() < 0.8 else rng.randrange(size)
    return min(size - 1, start + rng.randrange(_BLOCK))


def _flip(path: Path, _: dict[str, Path], rng: random.Random) -> str | None:
    done = None
    for _times in range(rng.choice([1, 1, 3])):
        at = _place(path, rng)
        if at is None:
            return None
        with path.open("rb") as file:
            file.seek(at)
            byte = file.read(1)[0]
        done = _write(path, at, bytes([byte ^ 1 << rng.randrange(8)]))
    return done


def _block(path: Path, _: dict[str, Path], rng: random.Random) -> str | None:
    at, size = _place(path, rng), path.stat().st_size
    if at is None:
        return None
    start = at // _BLOCK * _BLOCK
    n = min(rng.choice([_BLOCK, 4096, 16384]), size - start)
    return _write(path, start, rng.choice([bytes(n), rng.randbytes(n), b"\xff" * n]))


def _moved_block(path: Path, _: dict[str, Path], rng: random.Random) -> str | None:
    size = path.stat().st_size
    n = rng.choice([_BLOCK, 4096, 16384])
    if size < 2 * n:
        return None
    with path.open("rb") as file:
        file.seek(rng.randrange(size // n) * n)
        data = file.read(n)
    return _write(path, rng.randrange(size // n) * n, data)


def _truncate(path: Path, _: dict[str, Path], rng: random.Random) -> str | None:
    size = path.stat().st_size
    if not size:
        return None
    wanted = rng.choice([0, size - 1, size // 2, rng.randrange(size), size // 4096 * 4096])
    if wanted == size:
        return None
    os.truncate(path, wanted)
    return f"to {wanted} from {size}"


def _append(path: Path, _: dict[str, Path], rng: random.Random) -> str:
    data = rng.choice([b"\0", b"x", bytes(4096), rng.randbytes(4096), path.read_bytes()[:10_000]])
    with path.open("ab") as file:
        file.write(data)
    return f"of {len(data)} bytes"


def _delete(path: Path, _: dict[str, Path], rng: random.Random) -> str:
    path.unlink()
    return ""


def _replace(path: Path, _: dict[str, Path], rng: random.Random) -> str:
    kind = rng.choice(
        ["folder", "link to nothing", "link to itself", "link", "FIFO", "full folder"]
    )
    if kind == "link":
        elsewhere = path.parent.parent / f"elsewhere-{path.name}"
        shutil.copy2(path, elsewhere)
        path.unlink()
        path.symlink_to(elsewhere)
        return f"by a {kind}"
    path.unlink()
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind.startswith("link"):
        path.symlink_to(path.name if kind.endswith("itself") else "nothing")
    else:
        path.mkdir()
        if kind == "full folder":
            (path / "file").write_text("x")
    return f"by a {kind}"


def _exchange(path: Path, _: dict[str, Path], rng: random.Random) -> str | None:
    others = [p for p in path.parent.rglob("*") if p.is_file() and p != path]
    if not others:
        return None
    other = rng.choice(sorted(others))
    if other.read_bytes() == path.read_bytes():
        return None
    first, second = path.rename(path.with_name("swap")), other
    second.rename(path)
    first.rename(second)
    return f"with {other.name}"


def _foreign(path: Path, sources: dict[str, Path], rng: random.Random) -> str | None:
    """Put the file of the same name from another index, or from an earlier time, in its place."""
    root = next(p for p in path.parents if (p / "m3rag.json").exists() or p.name == "kb")
    source = rng.choice(sorted(sources))
    inside = path.relative_to(root)
    found = [sources[source] / inside]
    if not found[0].is_file():  # the engine's folders have random names
        found = [p for p in sources[source].rglob(path.name) if p.is_file()]
    if not found or found[0].read_bytes() == path.read_bytes():
        return None
    times = path.stat()
    shutil.copy(found[0], path)
    if rng.random() < 0.5:
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return f"from {source!r}"


def _folder(path: Path, _: dict[str, Path], rng: random.Random) -> str | None:
    """Remove or add something in the folder of a file, if it is one inside the index."""
    folder = path.parent
    if (folder / "m3rag.json").exists():
        (folder / rng.choice(["notes.txt", "engine-00", "passages.db.creating"])).write_text("x")
        return "with a new file"
    shutil.rmtree(folder)
    return f"removed: {folder.name}"


WAYS: dict[str, Callable[[Path, dict[str, Path], random.Random], str | None]] = {
    "flip": _flip,
    "block": _block,
    "moved block": _moved_block,
    "truncation": _truncate,
    "appending": _append,
    "deletion": _delete,
    "replacement": _replace,
    "exchange": _exchange,
    "copy": _foreign,
    "folder": _folder,
}


def judge(shown: View | None, right: View) -> tuple[str, list[str]]:
    """Return how the index took the damage, and the problems."""
    if shown is None:
        return "hung", ["hung: no answer"]
    if "raw" in shown:
        return "raw", [f"raw: {shown['raw'][-1500:]}"]
    if "own" in shown:
        return "reported: " + shown["own"].split(":")[0], []
    differs = differences(shown, right)
    if differs and "warned" not in shown:
        return "silent", [f"wrong: {difference}" for difference in differs]
    return "warned" if "warned" in shown else "harmless", []


def run(mode: str, tries: int, seed: int, out: Path, tally: Tally) -> None:
    """Damage an index of one mode, each time once."""
    viewer = Viewer()
    for label in ("one", "two"):
        (out / label).mkdir(parents=True)
        assert viewer.ask(120, do="make", folder=str(out / label), mode=mode, label=label) == {}
    right: dict[str, View] = {}
    kb = out / "work" / "kb"
    sources = {name: out / "two" / name for name in ("closed", "open")}
    sources["earlier"] = out / "one" / "earlier"
    for k in range(-2, tries):
        state = ("closed", "open")[k % 2]
        shutil.rmtree(out / "work", ignore_errors=True)
        (out / "work").mkdir()
        copied(out / "one" / state, kb)
        if k < 0:
            answer = viewer.ask(_TIMEOUT_S, do="view", folder=str(kb))
            assert answer is not None
            assert not {"own", "raw", "warned"} & answer.keys(), answer
            right[state] = answer
            continue
        rng = random.Random(f"{seed}/{mode}/{k}")
        files = sorted(p for p in kb.rglob("*") if p.is_file())
        small = [p for p in files if p.parent == kb]
        done = mutate(rng.choice(small if rng.random() < 0.7 else files), sources, rng)
        shown = viewer.ask(_TIMEOUT_S, do="view", folder=str(kb))
        result, problems = judge(shown, right[state])
        if result.startswith("reported") and rng.random() < 0.2:  # and not only once
            again, more = judge(viewer.ask(_TIMEOUT_S, do="view", folder=str(kb)), right[state])
            problems += more
            if not again.startswith("reported"):
                tally.note(f"{again} when opened again")
        tally.note(result)
        tally.add(f"mutation {seed}/{mode}/{k} ({state}): {done}", problems, kb)
    viewer.close()


def main() -> None:
    """Run the trial."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=MODES, required=True)
    parser.add_argument("--tries", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    tally = Tally(options.out)
    run(options.mode, options.tries, options.seed, options.out, tally)
    tally.end()


if __name__ == "__main__":
    main()
