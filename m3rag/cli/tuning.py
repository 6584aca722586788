"""`m3rag tune`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from m3rag.cli.evaluation import progress_bars
from m3rag.cli.opening import opened
from m3rag.errors import InputError
from m3rag.evaluation import Scores
from m3rag.evaluation.tuning import Tuning, index_scores, pseudo_questions, read_labelled, tune
from m3rag.index import M3Index
from m3rag.index.presets import Preset, check_name
from m3rag.scoring import SCORED


def run(
    source: str | None, kb: Path, *, name: str, pseudo: str | None, dry_run: bool, as_json: bool
) -> None:
    """Learn the weights, keep them in the knowledge base if they pay, and print why."""
    check_name(name)
    if (source is None) == (pseudo is None):
        raise InputError("Say what to learn from: labelled questions, or --pseudo headings.")
    with opened(kb) as (index, _):
        with progress_bars() as tell:
            scores = _scores(index, source, pseudo, tell)
            tuning = tune(scores)
        saved = tuning.tuned and not dry_run
        if saved:
            index.save_preset(name, tuning.preset)
    kind = "pseudo-questions" if pseudo else "questions"
    if as_json:
        facts = {"kb": str(kb), "set": scores.set, "kind": kind, "level": scores.level}
        outcome = {"name": name, "saved": saved, **tuning.to_dict()}
        typer.echo(json.dumps(facts | outcome, ensure_ascii=False))
        return
    console = Console()
    console.print(f"{tuning.questions:,} {kind} of {scores.set}", highlight=False)
    if tuning.held_out:
        console.print(_table(tuning), highlight=False)
    console.print(tuning.reason, highlight=False)
    if pseudo:
        console.print("Pseudo-questions are not real ones: measure with real ones.")
    if saved:
        told = f"Saved. Use it: m3rag ask … --in {kb} --weights {name}"
    else:
        told = "Nothing is saved" + (", as --dry-run asks." if tuning.tuned else ".")
    console.print(told, highlight=False)


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
