"""`m3rag index`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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

from m3rag.cli.common import opened
from m3rag.cli.options import Json

if TYPE_CHECKING:
    from m3rag.index.sync import Changes


def index(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder of .md, .markdown, .txt, .html, .htm, .pdf and .docx documents, including "
            "its subfolders."
        ),
    ],
    to: Annotated[
        Path, typer.Option("--to", help="Knowledge base folder; created if it does not exist.")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help='Model: hub id, folder, or "tiny" (bundled, works offline, not BGE-M3). Defaults '
            "to the model of the knowledge base, or to BAAI/bge-m3 for a new one."
        ),
    ] = None,
    max_tokens: Annotated[
        int, typer.Option(help="Maximum passage length in model tokens; at least 16.")
    ] = 512,
    overlap: Annotated[
        int,
        typer.Option(
            help="Tokens that adjacent passages may share; less than half of --max-tokens."
        ),
    ] = 64,
    colbert: Annotated[
        Literal["stored", "on-demand", "off"] | None,
        typer.Option(
            help="ColBERT vectors of a new knowledge base: stored (default), on-demand (computed "
            "for each query; small on disk) or off."
        ),
    ] = None,
    context: Annotated[
        Literal["passage", "document"] | None,
        typer.Option(
            help="How a new knowledge base encodes passages: each alone (passage, default), or "
            "those of a document together (document)."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Synchronize a knowledge base with a folder of documents.

    Run it again at any time, also after Ctrl-C: finished documents are skipped. New documents are
    added, changed ones replaced and deleted ones removed.
    """
    from m3rag.index.sync import documents_in, sync

    documents_in(folder)  # before the model is loaded: an empty folder is a quick error
    errors = Console(stderr=True)
    bars = _Bars(errors, folder)
    with (
        bars,
        opened(to, model=model, colbert=colbert, context=context, create=True) as (kb, loaded),
    ):
        try:
            changes = sync(
                kb,
                folder,
                loaded.tokenizer,
                max_tokens=max_tokens,
                overlap=overlap,
                progress=bars.report,
            )
        except KeyboardInterrupt:
            bars.stop()
            errors.print("Stopped. What was stored is kept; the same command goes on from here.")
            raise typer.Exit(130) from None
        total = kb.count()
    if as_json:
        result = {"kb": str(to), "total": total, **asdict(changes)}
        typer.echo(json.dumps(result, ensure_ascii=False))
    else:
        _print_changes(changes, to, total)
    if changes.failed:
        raise typer.Exit(1)


class _Bars(Progress):
    """One bar: the bytes of the files, with the passages and their rate beside it."""

    def __init__(self, console: Console, folder: Path) -> None:
        super().__init__(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[passages]} passages, {task.fields[rate]:.1f}/s"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self.add_task(f"Indexing {folder}", total=None, passages=0, rate=0.0)

    def report(self, stage: str, done: int, total: int | None, /) -> None:
        """Show a report of `sync`."""
        if stage == "passages":
            elapsed = self.tasks[self._task].elapsed or 0
            self.update(self._task, passages=done, rate=done / elapsed if elapsed else 0.0)
        else:
            self.update(self._task, completed=done, total=total)


def _print_changes(changes: Changes, to: Path, total: int) -> None:
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
