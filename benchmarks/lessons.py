"""How long it takes to index a folder of long documents with "tiny", and to answer a question.

    python benchmarks/lessons.py [FOLDER] [--runs 3] [--quick]

Prints a table in Markdown: what was indexed, the time of each run, the highest memory of this
process and of the engine's, and the time of a question end to end (encode, search, rescore every
candidate by all channels), without the model's memo. The questions are those of `questions.tsv`,
in languages that no example lesson is written in; for the example lessons, the default folder, it
also says for how many of them the best passage is of the lesson that has the answer.
"""

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
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", default=LESSONS)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one run, to see that it works")
    parser.add_argument("--dtype", default="auto")
    options = parser.parse_args()
    if options.quick:
        options.runs = 1

    seconds: list[float] = []
    with M3Model.load("tiny", dtype=options.dtype, memo_bytes=0) as model:
        for run in range(options.runs):
            with tempfile.TemporaryDirectory() as kb, M3Index.open(kb, model=model) as index:
                start = time.perf_counter()
                sync(index, options.folder, model.tokenizer)
                seconds.append(time.perf_counter() - start)
                if run == options.runs - 1:
                    texts = [passage.text for passage in index.passages()]
                    latencies, right = ask(index)
        tokens = sum(map(len, model.token_ids(texts)))
        report(options.folder, model, texts, tokens, seconds, latencies, right)


def ask(index: M3Index) -> tuple[list[float], int]:
    """Milliseconds of each question, asked twice, and how many find the right lesson first."""
    with QUESTIONS.open(encoding="utf-8") as file:
        questions = list(csv.DictReader(file, delimiter="\t"))
    index.search(questions[0]["question"])  # the first one opens files
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
    """Print one Markdown table."""
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
