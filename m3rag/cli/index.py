"""`m3rag index`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from m3rag.cli.common import opened
from m3rag.cli.options import Json, settings_options

if TYPE_CHECKING:
    from m3rag.index.manifest import ColbertMode, ContextMode
    from m3rag.index.sync import Changes


@dataclass(frozen=True)
class _Options:
    """How `m3rag index` splits documents, and the modes of a new knowledge base."""

    model: str | None = field(
        default=None,
        metadata={
            "help": 'Model: hub id, folder, or "tiny" (bundled, works offline, not BGE-M3). '
            "Defaults to the model of the knowledge base, or to BAAI/bge-m3 for a new "
            "one."
        },
    )
    max_tokens: int = field(
        default=512,
        metadata={"help": "Maximum passage length in model tokens; at least 16."},
    )
    overlap: int = field(
        default=64,
        metadata={
            "help": "Tokens that adjacent passages may share; less than half of --max-tokens."
        },
    )
    colbert: ColbertMode | None = field(
        default=None,
        metadata={
            "help": "ColBERT vectors of a new knowledge base: stored (default), on-demand "
            "(computed for each query; small on disk) or off."
        },
    )
    context: ContextMode | None = field(
        default=None,
        metadata={
            "help": "How a new knowledge base encodes passages: each alone (passage, default), "
            "or those of a document together (document)."
        },
    )


@settings_options(_Options)
def index(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder of .md, .markdown, .txt, .html, .htm, .pdf and .docx documents, including "
            "its subfolders."
        ),
    ],
    to: Annotated[
        str, typer.Option("--to", help="Knowledge base folder; created if it does not exist.")
    ],
    *,
    settings: _Options,
    as_json: Json = False,
) -> None:
    """Synchronize a knowledge base with a folder of documents.

    Run it again at any time, also after Ctrl-C: finished documents are skipped.
    New documents are added, changed ones replaced and deleted ones removed.
    """
    from m3rag.cli.bars import IndexingBar
    from m3rag.index.sync import documents_in, sync

    documents_in(folder)  # report an empty folder before the model is loaded
    bars = IndexingBar(folder)
    with (
        bars,
        opened(
            to,
            model=settings.model,
            colbert=settings.colbert,
            context=settings.context,
            create=True,
        ) as (kb, loaded),
    ):
        bars.start_now()
        try:
            changes = sync(
                kb,
                folder,
                loaded.tokenizer,
                max_tokens=settings.max_tokens,
                overlap=settings.overlap,
                progress=bars.report,
            )
        except KeyboardInterrupt:
            bars.stop()
            bars.console.print(
                "Stopped. Stored documents are kept; run the same command again to continue."
            )
            raise typer.Exit(130) from None
        total = kb.count()
    if as_json:
        result = {"kb": str(to), "total": total, **asdict(changes)}
        typer.echo(json.dumps(result, ensure_ascii=False))
    else:
        _print_changes(changes, to, total)
    if changes.failed:
        raise typer.Exit(1)


def _print_changes(changes: Changes, to: str, total: int) -> None:
    console = Console()
    counts = {
        "added": changes.added,
        "replaced": changes.replaced,
        "unchanged": changes.unchanged,
        "removed": changes.removed,
    }
    summary = ", ".join(f"{len(ids)} {change}" for change, ids in counts.items() if ids)
    console.print(
        f"{summary or 'no changes'}; {changes.passages} passages stored, {total} in {to}.",
        highlight=False,
    )
    for document, reason in changes.failed.items():
        console.print(f"[bold red]not indexed:[/] {document}:", highlight=False, end=" ")
        console.print(reason, markup=False, highlight=False)
