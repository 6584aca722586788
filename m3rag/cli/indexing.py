"""`m3rag index`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from m3rag.cli.opening import opened
from m3rag.index.folder import Changes, Step, documents_in, sync


def run(
    folder: Path,
    to: Path,
    *,
    model: str | None,
    max_tokens: int,
    overlap: int,
    colbert: str | None,
    context: str | None,
    as_json: bool,
) -> None:
    """Index `folder` into the knowledge base `to`; exit with 1 if a document could not be read."""
    documents_in(folder)  # nothing to index is not worth loading a model for
    errors = Console(stderr=True)
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[passages]} passages, {task.fields[rate]:.1f}/s"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=errors,
    )
    with (
        bar,
        opened(to, model=model, colbert=colbert, context=context, create=True) as (index, loaded),
    ):
        task = bar.add_task(f"Indexing {folder}", total=None, passages=0, rate=0.0)

        def advance(step: Step) -> None:
            elapsed = bar.tasks[task].elapsed or 0
            rate = step.passages / elapsed if elapsed else 0.0
            bar.update(
                task,
                completed=step.bytes_done,
                total=step.bytes_total,
                passages=step.passages,
                rate=rate,
            )

        try:
            changes = sync(
                index,
                folder,
                loaded.tokenizer,
                max_tokens=max_tokens,
                overlap=overlap,
                progress=advance,
            )
        except KeyboardInterrupt:
            bar.stop()
            errors.print("Stopped. What was stored is kept; the same command goes on from here.")
            raise typer.Exit(130) from None
        total = index.count()
    if as_json:
        typer.echo(
            json.dumps({"kb": str(to), "total": total, **asdict(changes)}, ensure_ascii=False)
        )
    else:
        _report(changes, to, total)
    if changes.failed:
        raise typer.Exit(1)


def _report(changes: Changes, to: Path, total: int) -> None:
    console = Console()
    counts = {
        "added": changes.added,
        "replaced": changes.replaced,
        "unchanged": changes.unchanged,
        "removed": changes.removed,
    }
    words = ", ".join(f"{len(ids)} {word}" for word, ids in counts.items() if ids)
    console.print(
        f"{words or 'nothing to do'}; {changes.passages} passages stored, {total} in {to}.",
        highlight=False,
    )
    for document, reason in changes.failed.items():
        console.print(f"[bold red]not indexed:[/] {document}:", highlight=False, end=" ")
        console.print(reason, markup=False, highlight=False)
