"""`m3rag tune`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from m3rag.cli.evaluation import progress_bars
from m3rag.cli.opening import opened
from m3rag.errors import InputError
from m3rag.evaluation import Scores
from m3rag.evaluation.tuning import (
    Threshold,
    Tuning,
    calibrate,
    index_scores,
    pseudo_questions,
    read_labelled,
    tune,
)
from m3rag.index import M3Index
from m3rag.index.presets import Preset, check_name
from m3rag.scoring import SCORED


def run(
    source: str | None,
    kb: Path,
    *,
    name: str,
    pseudo: str | None,
    precision: float,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Learn the weights and the score to answer from, keep what pays, and print why."""
    check_name(name)
    if (source is None) == (pseudo is None):
        raise InputError("Say what to learn from: labelled questions, or --pseudo headings.")
    with opened(kb) as (index, _):
        with progress_bars() as tell:
            scores = _scores(index, source, pseudo, tell)
            tuning = tune(scores)
        # Headings score unlike questions: they calibrate nothing.
        threshold = None if pseudo else calibrate(scores, tuning.preset, precision=precision)
        preset = _preset(tuning, threshold, scores.set)
        pays = tuning.tuned or preset.min_score is not None
        saved = pays and not dry_run
        if saved:
            index.save_preset(name, preset)
    kind = "pseudo-questions" if pseudo else "questions"
    if as_json:
        facts = {"kb": str(kb), "set": scores.set, "kind": kind, "level": scores.level}
        outcome = {"name": name, "saved": saved, **tuning.to_dict(), "preset": asdict(preset)}
        told = {"threshold": None if threshold is None else threshold.to_dict()}
        typer.echo(json.dumps(facts | outcome | told, ensure_ascii=False))
        return
    console = Console(highlight=False)
    console.print(f"{tuning.questions:,} {kind} of {scores.set}")
    _print(console, tuning, threshold)
    if saved:
        console.print(f"Saved. Use it: m3rag ask … --in {kb} --weights {name}")
    else:
        console.print("Nothing is saved" + (", as --dry-run asks." if pays else "."))


def _preset(tuning: Tuning, threshold: Threshold | None, source: str) -> Preset:
    """The weights to use, with the score to answer from, if there is one."""
    if threshold is None or threshold.min_score is None:
        return tuning.preset
    learned_from = tuning.preset.learned_from or f'"{tuning.best}", with a threshold of {source}'
    return replace(tuning.preset, min_score=threshold.min_score, learned_from=learned_from)


def _print(console: Console, tuning: Tuning, threshold: Threshold | None) -> None:
    if tuning.held_out:
        console.print(_table(tuning))
    console.print(tuning.reason)
    if threshold is None:
        console.print("Pseudo-questions are not real ones: measure with real ones.")
        return
    console.print(threshold.reason)
    if threshold.min_score is not None:
        precision = "none" if threshold.precision is None else f"{threshold.precision:.3f}"
        console.print(
            f"Precision {precision} ({threshold.wanted:g} was wanted), "
            f"coverage {threshold.coverage:.3f}."
        )


def _scores(
    index: M3Index,
    source: str | None,
    pseudo: str | None,
    tell: Callable[[str, int, int], object],
) -> Scores:
    if source is not None:
        return index_scores(index, read_labelled(source), progress=tell)
    without, labelled = pseudo_questions(index, pseudo or "headings", progress=tell)
    return index_scores(without, labelled, progress=tell)


def _table(tuning: Tuning) -> Table:
    """Learned weights and each preset, on questions that the learned weights have not seen."""
    table = Table(box=SIMPLE_HEAD, collapse_padding=True)
    for column in ("", "/".join(SCORED), "nDCG@10", "gain", "95 %"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    learned = tuning.learned or tuning.preset
    table.add_row("learned", _numbers(learned), f"{tuning.ndcg:.3f}", "", "")
    for name, row in tuning.held_out.items():
        interval = f"{row.low:+.3f} to {row.high:+.3f}"
        values = f"{row.ndcg:.3f}", f"{row.gain:+.3f}", interval
        table.add_row(name, _numbers(row.preset), *values)
    return table


def _numbers(preset: Preset) -> str:
    """The weights; by ranks, k and the channels."""
    if preset.fusion == "rrf":
        return f"rrf, k={preset.k:g}: {', '.join(c for c, w in preset.weights.items() if w)}"
    return "/".join(f"{preset.weights[channel]:g}" for channel in SCORED)
