"""Time indexing a folder of long documents, and searching it.

    python benchmarks/lessons.py [FOLDER] [--model tiny] [--runs 3] [--quick]

Prints a Markdown table: what was indexed, the time of each run, the peak memory of this process and
of the engine process, and the time of a search end to end (encode, retrieve, rescore every
candidate by all channels) without the model's memo. The queries are those of `questions.tsv`, in
languages in which no example lesson is written. For the example lessons, which are the default
folder, the table also says how many queries find the lesson with the answer first.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import resource
import statistics
import tempfile
import time
from pathlib import Path

import torch

from m3rag import M3Index, M3Model, __version__
from m3rag.documents import find
from m3rag.index.sync import sync

LESSONS = Path(__file__).parent.parent / "examples" / "lessons"
QUESTIONS = Path(__file__).parent / "questions.tsv"


def main() -> None:
    """Index, search and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", default=LESSONS)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a single run to check that it works")
    parser.add_argument("--model", default="tiny", help="a name or folder, as in M3Model.load")
    parser.add_argument("--dtype", default="auto")
    args = parser.parse_args()
    if args.quick:
        args.runs = 1

    seconds: list[float] = []
    with M3Model.load(args.model, dtype=args.dtype, memo_bytes=0) as model:
        for run in range(args.runs):
            with tempfile.TemporaryDirectory() as kb, M3Index.open(kb, model=model) as index:
                start = time.perf_counter()
                sync(index, args.folder, model.tokenizer)
                seconds.append(time.perf_counter() - start)
                if run == args.runs - 1:
                    texts = [passage.text for passage in index.passages()]
                    latencies, right = search(index)
        tokens = sum(map(len, model.token_ids(texts)))
        report(args.folder, model, texts, tokens, seconds, latencies, right)


def search(index: M3Index) -> tuple[list[float], int]:
    """Run each query twice; return the milliseconds, and how many find the right lesson first."""
    with QUESTIONS.open(encoding="utf-8") as file:
        questions = list(csv.DictReader(file, delimiter="\t"))
    index.search(questions[0]["question"])  # unmeasured: the first search opens files
    latencies, right = [], 0
    for row in questions + questions:
        start = time.perf_counter()
        hits = index.search(row["question"], k=5, weights="cross-lingual")
        latencies.append(1000 * (time.perf_counter() - start))
        right += hits[0].passage.document_id == f"lessons/{row['lesson']}.md"
    return latencies, right // 2


def report(
    folder: Path,
    model: M3Model,
    texts: list[str],
    tokens: int,
    seconds: list[float],
    latencies: list[float],
    right: int,
) -> None:
    """Print the Markdown table."""
    files = find(folder)
    words = sum(len(file.read_text(errors="replace").split()) for file in files)
    median = statistics.median(seconds)
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    engine = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    runs = ", ".join(f"{s:.1f}" for s in seconds)
    rows = {
        "machine": f"{machine}, {torch.backends.cpu.get_cpu_capability()}",
        "versions": f"m3rag {__version__}, {versions}",
        "model": f"{model.name}, {model.dtype}, {model.device}",
        "documents": f"{len(files)}: {words:,} words separated by spaces, "
        f"{tokens:,} tokens in passages",
        "passages": f"{len(texts):,}",
        "indexing, s": f"median {median:.1f} of {len(seconds)} runs ({runs})",
        "rate": f"{len(texts) / median:.0f} passages/s, {tokens / median:,.0f} tokens/s",
        "peak memory, MiB": f"{ours:.0f} in this process, {engine:.0f} in the engine process",
        "query, ms": f"median {statistics.median(latencies):.1f}, "
        f"90th percentile {statistics.quantiles(latencies, n=10)[-1]:.1f}, of {len(latencies)}",
    }
    if folder.resolve() == LESSONS.resolve():
        rows["right lesson first"] = f"{right} of {len(latencies) // 2} questions; no lesson is in "
        rows["right lesson first"] += "the language of the question"
    print("| what | measured |\n|---|---|")
    for name, value in rows.items():
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
