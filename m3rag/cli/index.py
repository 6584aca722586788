"""`m3rag index`."""

from __future__ import annotations

import re
import shlex
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from m3rag.cli.common import installed, opened
from m3rag.cli.options import DEFAULT_MODEL, Json, settings_options
from m3rag.cli.output import Terminal, print_json
from m3rag.cli.visible import line
from m3rag.errors import InputError
from m3rag.limits import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    from m3rag.documents import Fields
    from m3rag.index.manifest import ColbertMode, ContextMode
    from m3rag.index.sync import Changes

_SIZE = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,6}))?\s*([KMGT]?)(?:I?B)?", re.IGNORECASE)
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


@dataclass(frozen=True)
class _Options:
    """How `m3rag index` splits documents, and the modes of a new knowledge base."""

    model: str | None = field(
        default=None,
        metadata={
            "help": 'Model: BAAI/bge-m3 or another hub id, a folder, "small" or "tiny" (both '
            'offline). Defaults to the model of the knowledge base, or to "small" for a new one.'
        },
    )
    max_tokens: int | None = field(
        default=None,
        metadata={
            "help": "Maximum passage length in model tokens; at least 16. Defaults to the length "
            "that suits the model: 512 for BGE-M3."
        },
    )
    overlap: int | None = field(
        default=None,
        metadata={
            "help": "Tokens that adjacent passages may share; less than half of --max-tokens. "
            "Defaults to an eighth of it."
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
    follow_links: bool = field(
        default=False,
        metadata={
            "option": "--follow-links",
            "help": "Follow symbolic links to folders, and to files outside the folder.",
        },
    )
    encoding: str | None = field(
        default=None,
        metadata={
            "help": "Encoding of text files that are not UTF-8 and do not say what they are, such "
            "as windows-1251 or shift_jis. Without it, such files are not indexed."
        },
    )
    text_field: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Field of the records of .csv, .json and .jsonl files that is text; a.b is "
            "field b of field a; repeat it for several. Without it, all fields are read."
        },
    )
    id_field: str | None = field(
        default=None,
        metadata={"help": "Field of these records that names a record, as its heading."},
    )
    max_file_size: str = field(
        default="256MB",
        metadata={"help": "Size of the largest file to read, in bytes or as in 500K, 64MB or 1G."},
    )
    max_seconds: float = field(
        default=DEFAULT_LIMITS.reader_seconds,
        metadata={"help": "Seconds that reading a document may take, without long PDF files."},
    )

    def fields(self) -> Fields:
        """Return the fields of records to read."""
        from m3rag.documents import Fields

        return Fields(tuple(self.text_field), self.id_field)

    def limits(self) -> Limits:
        """Return the limits for documents.

        Raises:
            InputError: A value is no size or is out of range.
        """
        size = parse_size(self.max_file_size)
        return replace(DEFAULT_LIMITS, file_bytes=size, reader_seconds=self.max_seconds)


def parse_size(text: str) -> int:
    """Return a size such as "64MB" as a number of bytes; 1 KB is 1,024 bytes.

    Raises:
        InputError: The text is no size, or one of less than a byte.
    """
    found = _SIZE.fullmatch(text.strip())
    size = int(float(f"{found[1]}.{found[2] or 0}") * 2 ** _UNITS[found[3].upper()]) if found else 0
    if size < 1:
        raise InputError(
            f"{line(text, most=40)!r} is no size. Use a size such as 500K, 64MB or 1G."
        )
    return size


@settings_options(_Options, types={"text_field": list[str]})
def index(
    folder: Annotated[
        str,
        typer.Argument(
            help="Folder of documents, with its subfolders, or one file: Markdown, text, HTML, "
            "PDF, Office files, e-books, mail, notebooks, tables, archives and others."
        ),
    ],
    to: Annotated[
        str, typer.Option("--to", help="Knowledge base folder; created if it does not exist.")
    ],
    *,
    settings: _Options,
    as_json: Json = False,
) -> None:
    """Synchronize a knowledge base with a folder of documents, or with one file.

    Run it again at any time, also after Ctrl-C: finished documents are skipped.
    New documents are added, changed ones replaced and deleted ones removed.
    """
    from m3rag.cli.bars import IndexingBar
    from m3rag.index.sync import documents_in, sync

    limits = settings.limits()
    if not folder:
        raise InputError("The folder is empty. Pass the folder with the documents.")
    # Report a folder without documents before the model is loaded.
    documents_in(folder, follow_links=settings.follow_links, limits=limits)
    model = settings.model
    if model is None:
        model = _default_model(folder, to, as_json=as_json)
    bars = IndexingBar(Path(folder))
    try:
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
            changes = sync(
                kb,
                folder,
                loaded.tokenizer,
                max_tokens=settings.max_tokens,
                overlap=settings.overlap,
                follow_links=settings.follow_links,
                limits=limits,
                fields=settings.fields(),
                encoding=settings.encoding,
                progress=bars.report,
            )
            total = kb.count()
    except KeyboardInterrupt:  # also while the model is loaded and the knowledge base opened
        bars.stop()
        bars.console.print(
            "Stopped. Stored documents are kept; run the same command again to continue."
        )
        raise typer.Exit(130) from None
    _report(changes, to, total, as_json=as_json)


def _default_model(folder: str, to: str, *, as_json: bool) -> str | None:
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
    other = shlex.join(["m3rag", "index", folder, "--to", f"{Path(to)}-bge-m3", "--model", DEFAULT])
    Terminal(stderr=as_json).say(
        f'New knowledge base with the model "{model}". For BGE-M3: {other}'
    )
    return model


def _report(changes: Changes, to: str, total: int, *, as_json: bool) -> None:
    """Print the result, and end with status 1 if a document could not be read."""
    if as_json:
        print_json({"kb": to, "total": total, **asdict(changes)})
    else:
        _print_changes(changes, to, total)
    if changes.failed:
        raise typer.Exit(1)


def _print_changes(changes: Changes, to: str, total: int) -> None:
    console = Terminal()
    counts = {
        "added": changes.added,
        "replaced": changes.replaced,
        "unchanged": changes.unchanged,
        "removed": changes.removed,
    }
    summary = ", ".join(f"{len(ids)} {change}" for change, ids in counts.items() if ids)
    console.say(f"{summary or 'no changes'}; {changes.passages} passages stored, {total} in {to}.")
    for entry, reason in changes.skipped.items():
        console.say(Text("skipped:", "bold yellow"), f" {entry}: {reason}")
    for entry, reason in changes.incomplete.items():
        console.say(Text("incomplete:", "bold yellow"), f" {entry}: {reason}")
    for entry, reason in changes.failed.items():
        console.say(Text("not indexed:", "bold red"), f" {entry}: {reason}")
