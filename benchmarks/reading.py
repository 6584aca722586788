"""How long the model waits for files: one after the other, and read ahead; and a long PDF.

    python benchmarks/reading.py [--files 60] [--pages 600] [--rounds 3] [--save]

Chromium prints the example lessons, which are in eight languages: each as a file, of which there
are copies, and all of them, again and again, as a long one. Each round reads and splits the files
and encodes their passages, in batches of 64, once one after the other and once ahead; which is
first alternates. "No model" drops the passages: a model that takes no time. Ratios are those of the
two runs of a round. Memory is the highest of this process plus the highest of each parser process.
Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import torch
from markdown_it import MarkdownIt
from proc import peak, status
from tuning import markdown

from m3rag import M3Model, Passage, read, split
from m3rag.documents import parser_process
from m3rag.documents.ahead import read_ahead

ROOT = Path(__file__).parent.parent
LESSONS = ROOT / "examples" / "lessons"
TARGET = ROOT / "benchmarks" / "reading.md"
_MB = 1024  # units of /proc
Files = list[Path]
Work = Callable[[Path], list[Passage]]


def main() -> None:
    """Make the files, run the rounds, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--pages", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    markdown_it = MarkdownIt("commonmark")
    lessons = [markdown_it.render(p.read_text("utf-8")) for p in sorted(LESSONS.glob("*.md"))]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kinds = [printed(body, folder / f"{i}.pdf") for i, body in enumerate(lessons)]
        files = [folder / f"file{i}.pdf" for i in range(args.files)]
        for file, kind in zip(files, cycle(kinds)):
            shutil.copy(kind, file)
        pages = sum(len(read(kind).pages) for kind in kinds)
        copies = range(round(args.pages / pages))
        long = printed("".join(shuffled("".join(lessons), i) for i in copies), folder / "long.pdf")
        parser_process.close()
        rows = []
        for model in (None, "tiny", "small"):
            rows.append(compared(model, files, args.rounds))
            print(rows[-1], flush=True)
        long_pages, *long_row = read_alone(long, args.rounds)
    head = ("model", "in turn, s", "ahead, s", "ahead / in turn", "waits in turn", "waits ahead")
    text = _TEXT.format(
        files=args.files,
        each=pages // len(kinds),
        rounds=args.rounds,
        load=os.getloadavg()[0],
        cores=os.cpu_count(),
        readers=parser_process.MOST,
        table=markdown((*head, "memory in turn, MB", "memory ahead, MB"), rows),
        pages=long_pages,
        long=markdown(("seconds", "seconds of a core", "memory of the parser, MB"), [long_row]),
    )
    print(text)
    if args.save:
        TARGET.write_text(text)


def printed(body: str, target: Path) -> Path:
    """Print a page."""
    from tests.documents.print_corpus import with_chromium

    page = target.with_suffix(".html")
    page.write_text(f'<!doctype html><meta charset="utf-8">{body}', "utf-8")
    with_chromium(page, target)
    return target


def shuffled(body: str, seed: int) -> str:
    """Return a page with its paragraphs in another order: equal pages get no time of their own."""
    paragraphs = body.split("</p>")
    random.Random(seed).shuffle(paragraphs)
    return "</p>".join(paragraphs)


def compared(name: str | None, files: Files, rounds: int) -> list[str]:
    """Return the row of a model."""
    model = M3Model.load(name or "tiny", memo_bytes=0)
    tokens = model.passage_tokens

    def work(path: Path) -> list[Passage]:
        return split(read(path), model.tokenizer, max_tokens=tokens)

    encode = model.encode if name else len
    encode(["A first call starts the threads of the model."])
    found: dict[str, list[tuple[float, float, int]]] = {"in turn": [], "ahead": []}
    for number in range(rounds):
        ways = {"in turn": in_turn, "ahead": ahead}
        for way in sorted(ways, reverse=bool(number % 2)):
            found[way].append(measured(partial(ways[way], work, files), encode))
    model.close()
    seconds, waits, memory = (
        {way: [run[i] for run in runs] for way, runs in found.items()} for i in range(3)
    )
    ratios = [a / b for a, b in zip(seconds["ahead"], seconds["in turn"], strict=True)]
    low, high = min(ratios), max(ratios)
    shares = ([w / s for w, s in zip(waits[way], seconds[way], strict=True)] for way in found)
    return [
        f'"{name}"' if name else "no model",
        *(f"{statistics.median(seconds[way]):.1f}" for way in found),
        f"{statistics.median(ratios):.2f} ({low:.2f}–{high:.2f})",
        *(f"{statistics.median(share):.1%}" for share in shares),
        *(f"{max(memory[way]) / _MB:,.0f}" for way in found),
    ]


def in_turn(work: Work, files: Files) -> Iterator[Passage]:
    """Yield the passages of files that are read one after the other."""
    for file in files:
        yield from work(file)


def ahead(work: Work, files: Files) -> Iterator[Passage]:
    """Yield the passages of files that are read ahead."""
    sizes = {file: file.stat().st_size for file in files}
    for _, reading in read_ahead(work, sizes, lambda found: sum(len(p.text) for p in found)):
        yield from reading.result()


def measured(
    passages: Callable[[], Iterator[Passage]], encode: Callable[[list[str]], object]
) -> tuple[float, float, int]:
    """Encode all passages; return the seconds, those in which the model waits, and the memory."""
    waits = 0.0

    def run() -> None:
        nonlocal waits
        found = passages()
        while True:
            start = time.perf_counter()
            batch = [passage.text for passage in islice(found, 64)]
            waits += time.perf_counter() - start
            if not batch:
                return
            encode(batch)

    start = time.perf_counter()
    _, highest = peak(run)
    return time.perf_counter() - start, waits, highest + sum(parser_memory())


def parser_memory() -> list[int]:
    """Return the highest memory of each parser process, and end them."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    found = []
    for child in children:
        with contextlib.suppress(RuntimeError):  # it has ended
            found.append(status("VmHWM", int(child)))
    parser_process.close()
    return found


def read_alone(path: Path, rounds: int) -> list[str]:
    """Return the pages of one file that is read alone, and its row."""
    walls, cores, memory = [], [], []
    pages = 0
    for _ in range(rounds):
        start, computed = time.perf_counter(), os.times().children_user
        pages = len(read(path).pages)
        walls.append(time.perf_counter() - start)
        memory += parser_memory()
        cores.append(os.times().children_user - computed)
    return [
        str(pages),
        *(f"{statistics.median(seconds):.1f}" for seconds in (walls, cores)),
        f"{max(memory) / _MB:,.0f}",
    ]


_TEXT = """# Reading ahead

`python benchmarks/reading.py --save` wrote these tables on a machine with {cores} cores, so with
{readers} parser processes. {files} PDF files in eight languages, with {each} pages in the mean, are
read, split and encoded, {rounds} times one after the other and {rounds} times read ahead. "Waits"
is the share of the time in which the model waits for passages. Times are medians; ratios are of two
runs that follow each other, median (lowest–highest); memory is the highest of all processes
together. The load of the machine was {load:.1f} at the end: where other processes use all cores,
reading ahead cannot save time, and the model waits for its share of a core.

{table}

One PDF file of {pages} pages:

{long}
"""

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    torch.set_num_threads(os.cpu_count() or 1)
    main()
