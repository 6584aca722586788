"""What the speed benchmarks share: the full-size model, texts, the machine, interleaved timing.

The model has BGE-M3's shape (24 layers, 1024 wide, 250,002 tokens, 8,194 positions) and random
weights: as fast as the trained one, and nothing can be said of its quality. Its tokenizer is that
of `--tokenizer FOLDER` (XLM-RoBERTa's own, say), else tiny's, with fewer ids of the same table.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import re
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import XLMRobertaConfig, XLMRobertaModel

from m3rag.model import Tokenizer, checkpoint
from m3rag.model.kernels.device import has_amx
from m3rag.model.lookup import BUNDLED

HERE = Path(__file__).parent
RESULTS = HERE / "results.md"
LESSONS = HERE.parent / "examples" / "lessons"
WIDTH, VOCABULARY, POSITIONS = 1024, 250_002, 8194
Times = Mapping[str, Sequence[float]]


def options(about: str, **extra: Any) -> argparse.Namespace:
    """The arguments all benchmarks have, and `--name` for each of `extra`, with its default."""
    parser = argparse.ArgumentParser(description=about.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small model, to see that it runs")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--tokenizer", type=Path, help="folder of a tokenizer.json")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results.md and plots")
    for name, default in extra.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    return given


@contextlib.contextmanager
def full_size(layers: int, tokenizer: Path | None, *, inner: int = 4096) -> Iterator[Path]:
    """A folder with BGE-M3's shape and random weights, `layers` deep; it is gone afterwards."""
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=WIDTH // 64,
        intermediate_size=inner,
        max_position_embeddings=POSITIONS,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
    )
    encoder = XLMRobertaModel(config, add_pooling_layer=False).state_dict()
    heads = {
        name: {"weight": torch.randn(n, WIDTH) / 32, "bias": torch.zeros(n)}
        for name, n in (("sparse_linear", 1), ("colbert_linear", WIDTH))
    }
    words = Tokenizer((tokenizer or BUNDLED["tiny"]) / "tokenizer.json")
    made = checkpoint.Checkpoint(config.to_dict(), words, encoder, heads)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.write(made, Path(folder))
        yield Path(folder)


def flag_model(folder: Path) -> Any:
    """FlagEmbedding on the CPU, in the float32 in which it computes there in any case."""
    os.environ["TQDM_DISABLE"] = "1"
    warnings.simplefilter("ignore")
    from FlagEmbedding import BGEM3FlagModel

    return BGEM3FlagModel(str(folder), use_fp16=False, devices="cpu")


def flag_encode(model: Any, texts: Sequence[str], batch: int, max_length: int = 512) -> Any:
    """Its three outputs."""
    return model.encode(
        list(texts),
        batch_size=batch,
        max_length=max_length,
        return_dense=True,
        return_sparse=True,
        return_colbert_vecs=True,
    )


def passage_lengths(n: int) -> list[int]:
    """Log-normal, median about 116 tokens, mean 140, at most 512: a corpus of passages."""
    drawn = np.random.default_rng(0).lognormal(np.log(116), 0.6, n)
    return np.clip(drawn, 6, 512).astype(int).tolist()


def texts_of(lengths: Iterable[int], tokenizer: Tokenizer) -> list[str]:
    """Texts of about so many tokens, of the words of the example lessons."""
    files = sorted(LESSONS.glob("*.md"))
    words = sorted({word for file in files for word in file.read_text("utf-8").split()})
    sizes = [len(ids) for ids in tokenizer.ids(words)]
    rng, texts = np.random.default_rng(1), []
    for length in lengths:
        left, text = length - 2, []
        while left > 0:
            at = int(rng.integers(len(words)))
            if sizes[at] <= left:
                text.append(words[at])
                left -= max(1, sizes[at])
        texts.append(" ".join(text))
    return texts


class Seconds(float):
    """What a task returns that knows itself how long it took."""


def interleaved(
    tasks: Mapping[str, Callable[[], object]], runs: int, warm: int = 0
) -> dict[str, list[float]]:
    """Seconds of each run of each task, the tasks taking turns.

    `warm` times before, in the same turn, it runs unmeasured: the threads of the task before are at
    the ready for some milliseconds and keep the cores busy, and the cache is full of its numbers.
    """
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(runs):
        for name, task in tasks.items():
            for _ in range(warm):
                task()
            start = time.perf_counter()
            took = task()
            elapsed = time.perf_counter() - start
            times[name].append(took if isinstance(took, Seconds) else elapsed)
    return times


class Apart:
    """Named tasks in a process of their own, as their user has them.

    Two models in one process slow each other down (m3rag/model/threads.py): a query of BGE-M3 took
    58 ms instead of 43 beside FlagEmbedding, and FlagEmbedding 331 instead of 291 beside m3rag.

    `make(*args)`, of a module, gives the tasks there.
    """

    def __init__(self, make: Callable[..., Mapping[str, Callable[[], object]]], *args: Any) -> None:
        self._process = ProcessPoolExecutor(
            1, get_context("spawn"), _settle, (make, args, torch.get_num_threads())
        )

    def tasks(self, *names: str) -> dict[str, Callable[[], Seconds]]:
        """Tasks to interleave with others; each waits for its turn to end."""
        return {name: partial(self._run, _seconds, name) for name in names}

    def result(self, name: str) -> Any:
        """What a task returns."""
        return self._run(_result, name)

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.shutdown()

    def _run(self, how: Callable[[str], Any], name: str) -> Any:
        return self._process.submit(how, name).result()


_TASKS: dict[str, Callable[[], object]] = {}  # of this process


def _settle(
    make: Callable[..., Mapping[str, Callable[[], object]]], args: Any, threads: int
) -> None:
    torch.set_num_threads(threads)
    _TASKS.update(make(*args))


def _seconds(name: str) -> Seconds:
    start = time.perf_counter()
    _TASKS[name]()
    return Seconds(time.perf_counter() - start)


def _result(name: str) -> object:
    return _TASKS[name]()


def ratio(times: Times, slow: str, fast: str) -> str:
    """How many times as fast, the median of the rounds and their spread."""
    rounds = [s / f for s, f in zip(times[slow], times[fast], strict=True)]
    return f"×{statistics.median(rounds):.1f} ({min(rounds):.1f}–{max(rounds):.1f})"


def shown(seconds: Sequence[float]) -> str:
    """Milliseconds: the median and the spread."""
    ms = [1000 * s for s in seconds]
    return f"{_short(statistics.median(ms))} ({_short(min(ms))}–{_short(max(ms))})"


def _short(x: float) -> str:
    return f"{x:,.0f}" if x >= 100 else f"{x:.1f}" if x >= 1 else f"{x:.3f}"


def machine(threads: int) -> str:
    """The processor, what it has for matrix products, and the versions, in one line."""
    names = re.findall(r"model name\s*: (.*)", _read("/proc/cpuinfo"))
    flags = set(_read("/proc/cpuinfo").split())
    has = [f for f in ("amx_bf16", "avx512_bf16", "avx512_vnni", "avx2") if f in flags]
    packages = [f"{p} {version(p)}" for p in ("torch", "transformers", "FlagEmbedding")]
    capped = os.environ.get("ONEDNN_MAX_CPU_ISA")
    return (
        f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, {threads} threads, "
        f"{', '.join(has)}{f', oneDNN limited to {capped}' if capped else ''}; "
        f"m3rag {version('m3rag')}, {', '.join(packages)}, Python {platform.python_version()}"
    )


def _read(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text()
    return ""


def report(name: str, text: str, given: argparse.Namespace) -> str:
    """Print a section; with `--save`, put it in the place of the one of that name in RESULTS.

    Returns:
        The name, with the instructions if AMX does not multiply, so that no kind of machine takes
        the place of another; its plots have it too.
    """
    if not has_amx():
        name += f"-{os.environ.get('ONEDNN_MAX_CPU_ISA', 'without-amx').lower()}"
    load = f"load average {os.getloadavg()[0]:.1f} at the end"
    n = f"n = {given.runs}" + ", median (lowest–highest)" * (given.runs > 1)
    text = f"{text}\n\n{machine(given.threads)}; {n}, {load}."
    print(text)
    if given.save:
        page = RESULTS.read_text("utf-8")
        block = f"<!-- {name} -->\n{text}\n<!-- end -->"
        found = re.compile(f"<!-- {name} -->.*?<!-- end -->", re.DOTALL)
        page = found.sub(lambda _: block, page) if found.search(page) else f"{page}\n{block}\n"
        RESULTS.write_text(page, "utf-8")
    return name
