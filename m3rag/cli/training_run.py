"""The work of `m3rag train`: a progress bar while it runs, a line or JSON at the end."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from m3rag.model import M3Model
from m3rag.training import Progress, Report, TrainingSettings, mine, train


def run(
    data: Sequence[Path],
    to: Path,
    model: str,
    settings: TrainingSettings,
    evaluation: str | None,
    device: str,
    *,
    as_json: bool,
) -> None:
    """Train, and tell where the model is and how good."""
    first = os.environ.get("RANK", "0") == "0"  # of the processes of `accelerate launch`
    errors = Console(stderr=True, quiet=not first)
    bar = Bar(
        SpinnerColumn(),
        TextColumn("step {task.fields[step]}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("loss {task.fields[loss]:.3f}  {task.fields[speed]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=errors,
    )
    with bar:
        task = bar.add_task("train", total=1.0, start=False, step=0, loss=0.0, speed="reading")

        def advance(report: Report) -> None:
            progress = report.progress
            if not bar.tasks[task].started:  # time left is judged by what this process did
                bar.start_task(task)
            rates = (progress.queries / progress.seconds, progress.tokens / progress.seconds)
            bar.update(
                task,
                completed=report.done,
                step=progress.step,
                loss=progress.losses["loss"],
                speed="{:,.0f} queries/s  {:,.0f} tokens/s".format(*rates),
            )

        try:
            progress = train(
                data,
                to,
                model=model,
                settings=settings,
                evaluation=evaluation,
                device=device,
                report=advance,
            )
        except KeyboardInterrupt:
            bar.stop()
            errors.print(
                f"Stopped. {to} holds the model as it is now; the same command goes on from here."
            )
            raise typer.Exit(130) from None
    if not first:
        return
    if as_json:
        typer.echo(json.dumps(_summary(to, progress), ensure_ascii=False))
    else:
        _tell(to, progress)


def run_mining(data: Sequence[Path], to: Path, model: str, *, as_json: bool, **how: Any) -> None:
    """Mine, and tell what was found; `how` are `mine`'s keyword arguments."""
    bar = Bar(
        SpinnerColumn(),
        TextColumn("{task.completed:,} examples"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    with bar, M3Model.load(model) as loaded:
        task = bar.add_task("mine", total=None)
        mined = mine(data, to, model=loaded, progress=lambda n: bar.advance(task, n), **how)
    if as_json:
        typer.echo(json.dumps({"file": str(to), **asdict(mined)}))
        return
    Console().print(
        f"{mined.negatives:,} negatives for {mined.examples:,} examples, {mined.without:,} of "
        f"which got none, in {to}.",
        highlight=False,
    )


def _summary(to: Path, progress: Progress) -> dict[str, object]:
    return {
        "model": str(to),
        "steps": progress.step,
        "queries": progress.queries,
        "tokens": progress.tokens,
        "minutes": progress.seconds / 60,
        "truncated": progress.truncated,
        "losses": progress.losses,
        "scores": progress.scores,
    }


def _tell(to: Path, progress: Progress) -> None:
    console = Console()
    console.print(
        f"{progress.step} steps, {progress.queries:,} queries, {progress.seconds / 60:.1f} "
        f"minutes; loss {progress.losses['loss']:.3f}. The model is in {to}.",
        highlight=False,
    )
    for name, value in progress.scores.items():
        console.print(f"  {name}  {value:.3f}", highlight=False)
