"""`m3rag index`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from m3rag.cli.common import installed, opened
from m3rag.cli.index_options import STDIN_NAME, IndexOptions
from m3rag.cli.index_report import print_changes
from m3rag.cli.options import DEFAULT_MODEL, Json, settings_options
from m3rag.cli.output import Terminal
from m3rag.cli.watch import watch
from m3rag.errors import InputError

_STANDARD_INPUT = "-"


@settings_options(IndexOptions, types={"text_field": list[str], "exclude": list[str]})
def index(
    folder: Annotated[
        str,
        typer.Argument(
            help="Folder of documents, with its subfolders, or one file: Markdown, text, HTML, "
            "PDF, Office files, e-books, mail, notebooks, tables, archives and others; - reads one "
            "from standard input."
        ),
    ],
    to: Annotated[
        str, typer.Option("--to", help="Knowledge base folder; created if it does not exist.")
    ],
    *,
    settings: IndexOptions,
    as_json: Json = False,
) -> None:
    """Synchronize a knowledge base with a folder of documents, or with one file.

    Run it again at any time, also after Ctrl-C: finished documents are skipped.
    New documents are added, changed ones replaced and deleted ones removed.
    """
    from m3rag.cli.bars import IndexingBar
    from m3rag.index.sync import sync

    data = _checked_input(folder, to, settings)
    options = settings.of_sync()
    name = folder if data is None else settings.name or STDIN_NAME
    model = settings.model
    if model is None:
        source = ["-", "--name", name] if data is not None else [folder]
        model = _default_model(source, to, as_json=as_json)
    bars = IndexingBar(Path(name))
    try:
        if settings.watch:
            watch(folder, to, settings, model=model, bars=bars, as_json=as_json)
            return
        with (
            bars,
            opened(
                to,
                model=model,
                colbert=settings.colbert,
                context=settings.context,
                create=True,
            ) as (kb, loaded),
        ):
            bars.start_now()
            changes = sync(kb, name, loaded.tokenizer, data=data, progress=bars.report, **options)
            total = kb.count()
    except KeyboardInterrupt:  # also while the model is loaded and the knowledge base opened
        bars.stop()
        bars.console.print(
            "Stopped. Stored documents are kept; run the same command again to continue."
        )
        raise typer.Exit(130) from None
    print_changes(changes, to, total, as_json=as_json)
    if changes.failed:
        raise typer.Exit(1)


def _checked_input(folder: str, to: str, settings: IndexOptions) -> bytes | None:
    """Check what is to be indexed before the model is loaded; return what is on standard input.

    Raises:
        DocumentError: There is nothing to index.
        InputError: An option has no meaning for it.
    """
    from m3rag.index.listing import list_data, list_folder
    from m3rag.stores.location import locate

    if not folder:
        raise InputError("The folder is empty. Pass the folder with the documents.")
    if folder == _STANDARD_INPUT:
        for option, given in (("--exclude", settings.exclude), ("--watch", settings.watch)):
            if given:
                raise InputError(f"{option} is for folders, not for standard input. Leave it out.")
        limits = settings.limits()
        data = b"" if sys.stdin is None else sys.stdin.buffer.read(limits.file_bytes + 1)
        list_data(settings.name or STDIN_NAME, data, limits)
        return data
    if settings.name is not None:
        raise InputError("--name is for standard input: m3rag index - --name report.pdf.")
    listed = list_folder(folder, **settings.of_listing())
    if not listed.files and not locate(to).exists():
        raise listed.nothing()
    return None


def _default_model(source: list[str], to: str, *, as_json: bool) -> str | None:
    """Return the model of a command without --model; None if it is that of the knowledge base.

    For a new knowledge base, it says which one that is, and how to use BGE-M3 instead.

    Raises:
        CheckpointError: The default is not installed.
        FormatError: The folder of the knowledge base holds something else.
    """
    from m3rag.model.lookup import DEFAULT
    from m3rag.stores.location import locate

    location = locate(to)
    if location.exists():
        return None
    location.check_new(create=True)
    model = installed(DEFAULT_MODEL)
    other = shlex.join(
        ["m3rag", "index", *source, "--to", f"{Path(to)}-bge-m3", "--model", DEFAULT]
    )
    Terminal(stderr=as_json).say(
        f'New knowledge base with the model "{model}". For BGE-M3: {other}'
    )
    return model
