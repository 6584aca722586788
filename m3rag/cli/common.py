"""Functions of several commands: choose models and keys, open a knowledge base, print a line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from rich.text import Text

from m3rag.cli.options import DEFAULT_MODEL
from m3rag.cli.output import shown
from m3rag.errors import CheckpointError, InputError

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from m3rag.answers import OpenAIChat
    from m3rag.encoder import Model
    from m3rag.explanation import Sentence
    from m3rag.index import M3Index
    from m3rag.index.manifest import ColbertMode, ContextMode
    from m3rag.index.opening import StoredIndex
    from m3rag.model import M3CrossEncoder
    from m3rag.serve.keys import Keys
    from m3rag.stores.filters import Where

_API_KEY = "M3RAG_API_KEY"


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


def loaded_cross_encoder(name: str | None) -> AbstractContextManager[M3CrossEncoder | None]:
    """Return the cross-encoder of an option, which the end of a `with` block closes."""
    if name is None:
        return nullcontext()
    from m3rag.model import M3CrossEncoder

    return M3CrossEncoder.load(name)


def llm_server(
    url: str | None, model: str | None, timeout: float | None = None
) -> Callable[[], OpenAIChat] | None:
    """Return a function that creates the client of --llm-url and --llm-model; None without them.

    Raises:
        InputError: One of the options is missing.
    """
    from m3rag.answers import OpenAIChat
    from m3rag.answers.openai_chat import API_KEY

    if bool(url) != bool(model):
        raise InputError("--llm-url and --llm-model must be given together.")
    if url is None or model is None:
        return None
    return partial(OpenAIChat, url, model, os.environ.get(API_KEY), timeout)


def server_keys(file: Path | None, key: str | None = None) -> Keys:
    """Return the keys of a server: those of a file, and a given one or that of the environment.

    Raises:
        InputError: A key cannot be used, or the file cannot be read.
    """
    from m3rag.serve.keys import load_keys

    return load_keys(key or os.environ.get(_API_KEY), file)


def server_url(host: str, bound: socket.socket) -> str:
    """Return the URL of a server that is bound to an address of a host."""
    shown_host = f"[{host}]" if ":" in host else host
    return f"http://{shown_host}:{bound.getsockname()[1]}"


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
