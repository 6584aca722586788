"""Functions of several commands: choose a model, open a knowledge base, print a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from rich.text import Text

from m3rag.cli.options import DEFAULT_MODEL
from m3rag.cli.output import shown
from m3rag.errors import CheckpointError

if TYPE_CHECKING:
    from m3rag.encoder import Model
    from m3rag.explanation import Sentence
    from m3rag.index import M3Index
    from m3rag.index.manifest import ColbertMode, ContextMode
    from m3rag.index.opening import StoredIndex
    from m3rag.stores.filters import Where


def installed(model: str) -> str:
    """Return the name of a model, after a check that the default of the commands is installed.

    Raises:
        CheckpointError: The name is that of the default, which is not installed.
    """
    from m3rag.model.lookup import DEFAULT, locate

    if model == DEFAULT_MODEL:
        try:
            locate(model)
        except CheckpointError as error:
            raise CheckpointError(
                f"{str(error).rstrip('.')}. Or use BGE-M3, 2.3 GB from the hub: --model {DEFAULT}"
            ) from error
    return model


@contextmanager
def opened(
    kb: str,
    *,
    model: str | None = None,
    colbert: ColbertMode | None = None,
    context: ContextMode | None = None,
    create: bool = False,
) -> Iterator[tuple[M3Index, Model]]:
    """Open a knowledge base with its own model, or create one with the given model or the default.

    Raises:
        FormatError: The folder holds something else, or is empty and `create` is False.
        CheckpointError: The model cannot be loaded.
    """
    from m3rag.index import M3Index
    from m3rag.index.manifest import read_manifest
    from m3rag.model import M3Model
    from m3rag.stores.base import ServesModel
    from m3rag.stores.location import locate

    location = locate(kb)
    if model is None and isinstance(location, ServesModel):
        with M3Index.open(location, colbert=colbert, context=context, create=create) as index:
            yield index, index.model
        return
    if model is None and (not create or location.exists()):
        model = read_manifest(location).model
    with (
        M3Model.load(DEFAULT_MODEL if model is None else model) as loaded,
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


def why_nothing(stored: StoredIndex, where: Where) -> str:
    """Return why a search found nothing, as sentences; names fields that no passage has."""
    from m3rag.index.unknown_names import unknown_fields

    if not stored.store.count():
        return "Nothing found: the knowledge base is empty."
    reasons = unknown_fields(stored.store, where)
    return " ".join(["Nothing found.", *(reasons or ["No passage matches the filter."])])


def best_line(sentence: Sentence) -> Text:
    """Return the best sentence on one line."""
    words = " ".join(sentence.text.split())
    return Text("Best sentence: ", style="bold green").append_text(shown(words, "bold"))
