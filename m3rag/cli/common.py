"""Functions of several commands: open a knowledge base, print, write pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from m3rag.cli.options import DEFAULT_MODEL
from m3rag.errors import InputError

if TYPE_CHECKING:
    from m3rag.explanation import Sentence
    from m3rag.index import M3Index
    from m3rag.index.manifest import ColbertMode, ContextMode
    from m3rag.index.opening import StoredIndex
    from m3rag.model import M3Model

_SHOWN = 700  # characters of a passage that are printed


@contextmanager
def opened(
    kb: str,
    *,
    model: str | None = None,
    colbert: ColbertMode | None = None,
    context: ContextMode | None = None,
    create: bool = False,
) -> Iterator[tuple[M3Index, M3Model]]:
    """Open a knowledge base with its own model, or create one with the given model.

    Raises:
        FormatError: The folder holds something else, or is empty and `create` is False.
        CheckpointError: The model cannot be loaded.
    """
    from m3rag.index import M3Index
    from m3rag.index.manifest import read_manifest
    from m3rag.model import M3Model
    from m3rag.stores.location import locate

    location = locate(kb)
    if not create or location.exists():
        model = model or read_manifest(location).model
    with (
        M3Model.load(model or DEFAULT_MODEL) as loaded,
        M3Index.open(kb, model=loaded, colbert=colbert, context=context, create=create) as index,
    ):
        yield index, loaded


@contextmanager
def opened_stored(kb: str) -> Iterator[StoredIndex]:
    """Open a knowledge base without its model.

    Raises:
        FormatError: The folder holds no knowledge base.
    """
    from m3rag.index.opening import open_stored
    from m3rag.stores.location import locate

    with closing(open_stored(locate(kb))) as stored:
        yield stored


def write_page(path: Path, content: str) -> None:
    """Write an HTML page.

    Raises:
        InputError: The file cannot be written.
    """
    try:
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from None


def best_line(sentence: Sentence) -> Text:
    """Return the best sentence on one line."""
    words = " ".join(sentence.text.split())
    return Text("Best sentence: ", style="bold green").append(words, style="bold")


def window(body: Text, focus: int) -> Text:
    """Return at most `_SHOWN` characters of a text around the character `focus`."""
    start = max(0, min(focus - _SHOWN // 3, len(body) - _SHOWN))
    shown = body[start : start + _SHOWN]
    shown = Text("… ").append_text(shown) if start else shown
    return shown.append(" …") if start + _SHOWN < len(body) else shown
