"""Helpers of the speed benchmarks: a full-size model, texts, interleaved timing, reports.

The model has BGE-M3's shape (24 layers, 1024 wide, 250,002 tokens, 8,194 positions) and random
weights. It is as fast as the trained model, but its output says nothing about quality. Its
tokenizer is that of `--tokenizer FOLDER` (XLM-RoBERTa's own, for example), or that of "tiny", which
uses fewer ids of the same table.
"""

from __future__ import annotations

import argparse
import contextlib
import json
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

from m3rag import M3Model
from m3rag.model import Tokenizer, checkpoint
from m3rag.model.cross_checkpoint import with_new_head
from m3rag.model.kernels.device import has_amx
from m3rag.model.lookup import BUNDLED

RESULTS = Path(__file__).with_name("results.md")
LESSONS = Path(__file__).parent.parent / "examples" / "lessons"
WIDTH, VOCABULARY, POSITIONS = 1024, 250_002, 8194
Tasks = Mapping[str, Callable[[], object]]
Times = Mapping[str, Sequence[float]]  # seconds of each run, by task


def options(about: str, **extra: Any) -> argparse.Namespace:
    """Parse the arguments that all benchmarks share, and one `--name` for each of `extra`.

    Args:
        about: The docstring of the benchmark; its first line is the description.
        **extra: Defaults of further options, which also give their types.
    """
    parser = argparse.ArgumentParser(description=about.split("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="a small, fast run to check that it works"
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--tokenizer", type=Path, help="folder of a tokenizer.json")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results.md and plots")
    for name, default in extra.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    return args


@contextlib.contextmanager
def full_size(
    layers: int, tokenizer: Path | None, *, inner: int = 4096, cross_encoder: bool = False
) -> Iterator[Path]:
    """Write a temporary checkpoint of BGE-M3's shape, with random weights and `layers` layers.

    Args:
        layers: The number of layers; BGE-M3 has 24.
        tokenizer: The folder of a tokenizer.json; None takes that of "tiny".
        inner: The width of the feed-forward block.
        cross_encoder: Whether to write a cross-encoder, of bge-reranker-v2-m3's shape.

    Yields:
        The folder, which is removed afterwards.
    """
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
    vocabulary = Tokenizer((tokenizer or BUNDLED["tiny"]) / "tokenizer.json")
    found = checkpoint.Checkpoint(config.to_dict(), vocabulary, encoder, heads)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.write(with_new_head(found, 0) if cross_encoder else found, Path(folder))
        yield Path(folder)


@contextlib.contextmanager
def chosen(args: argparse.Namespace) -> Iterator[tuple[Path, int, int]]:
    """Yield a plain checkpoint of `--model` or BGE-M3's shape, its layers and its width."""
    with contextlib.ExitStack() as stack:
        if args.model:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()), "model")
            with M3Model.load(args.model) as model:
                model.save(folder)
        else:
            folder = stack.enter_context(full_size(args.layers, args.tokenizer))
        config = json.loads((folder / "config.json").read_text("utf-8"))
        yield folder, config["num_hidden_layers"], config["hidden_size"]


def flag_model(folder: Path) -> Any:
    """Load FlagEmbedding on the CPU, where it always computes in float32."""
    os.environ["TQDM_DISABLE"] = "1"
    warnings.simplefilter("ignore")
    from FlagEmbedding import BGEM3FlagModel

    return BGEM3FlagModel(str(folder), use_fp16=False, devices="cpu")


def flag_encode(model: Any, texts: Sequence[str], batch: int, max_length: int = 512) -> Any:
    """Return the three outputs of FlagEmbedding's model."""
    return model.encode(
        list(texts),
        batch_size=batch,
        max_length=max_length,
        return_dense=True,
        return_sparse=True,
        return_colbert_vecs=True,
    )


def passage_lengths(n: int) -> list[int]:
    """Draw `n` lengths as in a corpus of passages.

    They are log-normal: the median is about 116 tokens, the mean 140, the maximum 512.
    """
    drawn = np.random.default_rng(0).lognormal(np.log(116), 0.6, n)
    return [int(length) for length in np.clip(drawn, 6, 512)]


def texts_of(lengths: Iterable[int], tokenizer: Tokenizer) -> list[str]:
    """Return texts of about these numbers of tokens, made of words of the example lessons."""
    files = sorted(LESSONS.glob("*.md"))
    words = sorted({word for file in files for word in file.read_text("utf-8").split()})
    sizes = [len(ids) for ids in tokenizer.ids(words)]
    rng, texts = np.random.default_rng(1), []
    for length in lengths:
        left, text = length - 2, []
        while left > 0:
            i = int(rng.integers(len(words)))
            if sizes[i] <= left:
                text.append(words[i])
                left -= max(1, sizes[i])
        texts.append(" ".join(text))
    return texts


class Seconds(float):
    """The result of a task that measured its own time."""


def interleaved(tasks: Tasks, runs: int, warm: int = 0) -> dict[str, list[float]]:
    """Run tasks in turns and return the seconds of each run of each task.

    Args:
        tasks: The tasks by name.
        runs: The number of measured runs of each task.
        warm: How often a task runs unmeasured right before each measured run. The threads of the
            previous task spin for some milliseconds and keep the cores busy, and the cache is full
            of its data.
    """
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(runs):
        for name, task in tasks.items():
            for _ in range(warm):
                task()
            start = time.perf_counter()
            result = task()
            elapsed = time.perf_counter() - start
            times[name].append(result if isinstance(result, Seconds) else elapsed)
    return times


class Apart:
    """Named tasks in a process of their own, where a user runs one model.

    Two models in one process slow each other down (m3rag/threads.py): a query of BGE-M3 took
    58 ms instead of 43 beside FlagEmbedding, and FlagEmbedding 331 instead of 291 beside m3rag.

    The process calls `make(*args)` to get the tasks; `make` must be a function of a module.
    """

    def __init__(self, make: Callable[..., Tasks], *args: Any) -> None:
        self._process = ProcessPoolExecutor(
            1, get_context("spawn"), _start_process, (make, args, torch.get_num_threads())
        )

    def tasks(self, *names: str) -> dict[str, Callable[[], Seconds]]:
        """Return tasks to interleave with others; each call waits until the task is done."""
        return {name: partial(self._run, _seconds, name) for name in names}

    def result(self, name: str) -> Any:
        """Run a task and return its result."""
        return self._run(_result, name)

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.shutdown()

    def _run(self, how: Callable[[str], Any], name: str) -> Any:
        return self._process.submit(how, name).result()


_TASKS: dict[str, Callable[[], object]] = {}  # of this process


def _start_process(make: Callable[..., Tasks], args: tuple[Any, ...], threads: int) -> None:
    torch.set_num_threads(threads)
    _TASKS.update(make(*args))


def _seconds(name: str) -> Seconds:
    start = time.perf_counter()
    _TASKS[name]()
    return Seconds(time.perf_counter() - start)


def _result(name: str) -> object:
    return _TASKS[name]()


def ratio(times: Times, slow: str, fast: str) -> str:
    """Return how many times as fast `fast` is: the median of the rounds and their spread."""
    rounds = [s / f for s, f in zip(times[slow], times[fast], strict=True)]
    return f"×{statistics.median(rounds):.1f} ({min(rounds):.1f}–{max(rounds):.1f})"


def milliseconds(seconds: Sequence[float]) -> str:
    """Return the median and the spread of times, in milliseconds."""
    ms = [1000 * s for s in seconds]
    return f"{_short(statistics.median(ms))} ({_short(min(ms))}–{_short(max(ms))})"


def _short(x: float) -> str:
    return f"{x:,.0f}" if x >= 100 else f"{x:.1f}" if x >= 1 else f"{x:.3f}"


def machine(threads: int) -> str:
    """Return the processor, its matrix instructions and the versions, in one line."""
    names = re.findall(r"model name\s*: (.*)", _read("/proc/cpuinfo"))
    flags = set(_read("/proc/cpuinfo").split())
    matrix = [f for f in ("amx_bf16", "avx512_bf16", "avx512_vnni", "avx2") if f in flags]
    packages = [f"{p} {version(p)}" for p in ("torch", "transformers", "FlagEmbedding")]
    capped = os.environ.get("ONEDNN_MAX_CPU_ISA")
    return (
        f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, {threads} threads, "
        f"{', '.join(matrix)}{f', oneDNN limited to {capped}' if capped else ''}; "
        f"m3rag {version('m3rag')}, {', '.join(packages)}, Python {platform.python_version()}"
    )


def _read(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text()
    return ""


def report(name: str, text: str, args: argparse.Namespace) -> str:
    """Print a section; with `--save`, also replace the section of that name in RESULTS.

    Args:
        name: The name of the section.
        text: The section in Markdown.
        args: The arguments of the benchmark: `runs`, `threads` and `save` are used.

    Returns:
        The name of the section and its plots. Where AMX is not used, the instruction set is added,
        so that results of one kind of machine do not replace those of another.
    """
    if not has_amx():
        name += f"-{os.environ.get('ONEDNN_MAX_CPU_ISA', 'without-amx').lower()}"
    load = f"load average {os.getloadavg()[0]:.1f} at the end"
    n = f"n = {args.runs}" + ", median (lowest–highest)" * (args.runs > 1)
    text = f"{text}\n\n{machine(args.threads)}; {n}, {load}."
    print(text)
    if args.save:
        page = RESULTS.read_text("utf-8")
        block = f"<!-- {name} -->\n{text}\n<!-- end -->"
        found = re.compile(f"<!-- {name} -->.*?<!-- end -->", re.DOTALL)
        page = found.sub(lambda _: block, page) if found.search(page) else f"{page}\n{block}\n"
        RESULTS.write_text(page, "utf-8")
    return name
