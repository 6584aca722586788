"""Search and add for minutes from 16 threads and an event loop; check memory, errors and results.

    python benchmarks/soak.py [--minutes 10]

The threads run queries whose hits were recorded before, and add passages again that are already in
the index, so hits must not change. The model computes in float32, because in 16 bits the vectors of
a text depend slightly on the other texts of its forward pass. First, a packed row of each size is
encoded: oneDNN keeps compiled code for every size (66 MB in all for "tiny"), and the rarer sizes
would otherwise come up for minutes. Prints a line every five seconds and reads the memory of this
process and of the engine process. The median of each in the last third of the time may be 5 % above
that of the second third. The exit status is 1 if something is wrong. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Sequence
from statistics import median

from common import LESSONS
from proc import status

from m3rag import Hit, M3Index, M3Model, split
from m3rag.documents import read
from m3rag.errors import TruncationWarning
from m3rag.stores.edge.store import EdgeStore

THREADS, TASKS = 16, 4
GROWTH = 1.05  # the highest allowed ratio of memory in the last third to that in the second
EVERY = 5.0  # seconds between readings


class Soak:
    """An index, the hits it must return, and a list of what went wrong."""

    def __init__(self, index: M3Index, store: EdgeStore) -> None:
        self.index = index
        self.store = store
        self.passages = list(index.passages())
        self.queries = [p.text[:80].strip() for p in self.passages[:40] if p.text.strip()]
        self.expected = {query: scores(index.search(query, k=5)) for query in self.queries}
        self.wrong: list[str] = []
        self.searches = self.adds = 0

    def check(self, query: str, hits: list[Hit]) -> None:
        """Compare hits with the recorded ones: the same passages, and scores to 1e-4."""
        self.searches += 1
        found, expected = scores(hits), self.expected[query]
        same = found.keys() == expected.keys()
        if not same or max(abs(found[i] - expected[i]) for i in expected) > 1e-4:
            self.wrong.append(f"{query!r}: {found} instead of {expected}")

    def thread(self, seed: int, end: float) -> None:
        """Search four times out of five, and otherwise add passages again."""
        rng = random.Random(seed)
        while time.monotonic() < end:
            try:
                if rng.random() < 0.8:
                    query = rng.choice(self.queries)
                    self.check(query, self.index.search(query, k=5))
                else:
                    self.index.add(rng.sample(self.passages, 4))
                    self.adds += 1
            except Exception as error:
                self.wrong.append(repr(error))

    async def tasks(self, end: float) -> None:
        """Search from TASKS tasks of an event loop."""
        await asyncio.gather(*(self._task(seed, end) for seed in range(TASKS)))

    async def _task(self, seed: int, end: float) -> None:
        rng = random.Random(-seed)
        while time.monotonic() < end:
            query = rng.choice(self.queries)
            try:
                self.check(query, await self.index.asearch(query, k=5))
            except Exception as error:
                self.wrong.append(repr(error))

    def memory(self) -> tuple[int, int]:
        """Return the megabytes of anonymous memory of this process and of the engine process."""
        assert self.store.process is not None
        pid = self.store.process.pid
        assert pid is not None
        return status("RssAnon") // 1000, status("RssAnon", pid) // 1000


def main() -> None:
    """Run the soak, print its results and exit with their status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    minutes = parser.parse_args().minutes
    print("Indexing and recording the hits", flush=True)
    with (
        tempfile.TemporaryDirectory() as kb,
        M3Model.load("tiny", dtype="float32", memo_bytes=1 << 22) as model,
        M3Index.open(kb, model=model) as index,
    ):
        for file in sorted(LESSONS.glob("*.md")):
            index.add(split(read(file), model.tokenizer))
        warm_up(model)
        assert isinstance(index._store, EdgeStore)
        sys.exit(run(Soak(index, index._store), minutes))


def warm_up(model: M3Model) -> None:
    """Encode a packed row of each size to which rows are rounded up."""
    text = min(LESSONS.glob("*.md")).read_text("utf-8")[:6000]
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", TruncationWarning
        )  # each text is cut to the size of the row
        for tokens in (*range(16, 256, 16), *range(256, 2049, 64)):
            n = -(-tokens // 512)
            model.encode([f"{tokens} {i} {text}" for i in range(n)], max_length=tokens // n)


def run(soak: Soak, minutes: float) -> int:
    """Run the threads and print readings; return the exit status, 0 if nothing is wrong."""
    start = time.monotonic()
    end = start + 60 * minutes
    threads = [threading.Thread(target=soak.thread, args=(n, end)) for n in range(THREADS)]
    threads.append(threading.Thread(target=lambda: asyncio.run(soak.tasks(end))))
    for thread in threads:
        thread.start()
    readings = []
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(EVERY, left))
        readings.append(soak.memory())
        done = f"{soak.searches:,} searches, {soak.adds:,} adds, {len(soak.wrong)} wrong"
        print(f"{time.monotonic() - start:4.0f} s: {done}; MB: {readings[-1]}", flush=True)
    for thread in threads:
        thread.join()
    late = time.monotonic() - end
    columns = list(zip(*readings, strict=True))
    growths = [growth(column) for column in columns]
    print(
        f"{minutes:g} minutes and {late:.1f} s, {THREADS} threads, {TASKS} tasks: "
        f"{soak.searches:,} searches, {soak.adds:,} adds of 4 passages, {len(soak.wrong)} wrong."
    )
    for name, column, ratio in zip(("this process", "the engine"), columns, growths, strict=True):
        print(f"Memory of {name}: {min(column)} to {max(column)} MB, last third × {ratio:.3f}.")
    for line in soak.wrong[:5]:
        print(line)
    return int(bool(soak.wrong) or max(growths) > GROWTH)


def growth(readings: Sequence[int]) -> float:
    """Return the median of the last third divided by that of the second third."""
    third = max(1, len(readings) // 3)
    return median(readings[-third:]) / median(readings[-2 * third : -third] or readings)


def scores(hits: list[Hit]) -> dict[str, float]:
    """Return the scores of hits by the ids of their passages."""
    return {hit.passage.id: hit.score for hit in hits}


if __name__ == "__main__":
    main()
