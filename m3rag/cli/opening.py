"""A knowledge base, opened for one command, with its model or without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from m3rag.index import M3Index
from m3rag.index.manifest import NAME, Manifest, read_manifest
from m3rag.index.opening import open_store
from m3rag.index.plan import Store
from m3rag.model import M3Model
from m3rag.model.model import DEFAULT


@contextmanager
def opened(
    kb: Path,
    *,
    model: str | None = None,
    colbert: str | None = None,
    context: str | None = None,
    create: bool = False,
) -> Iterator[tuple[M3Index, M3Model]]:
    """Open a knowledge base with its own model, or make one with the model named.

    Raises:
        FormatError: the folder is no knowledge base, and `create` is False or it holds other files.
        CheckpointError: its model cannot be loaded.
    """
    if not create or (kb / NAME).exists():
        model = model or read_manifest(kb).model
    with (
        M3Model.load(model or DEFAULT) as loaded,
        M3Index.open(kb, model=loaded, colbert=colbert, context=context, create=create) as index,
    ):
        yield index, loaded


@contextmanager
def opened_store(kb: Path) -> Iterator[tuple[Store, Manifest]]:
    """Open a knowledge base's passages, for what needs no model.

    Raises:
        FormatError: the folder is no knowledge base.
    """
    manifest = read_manifest(kb)
    with closing(open_store(kb, manifest, new=False)) as store:
        yield store, manifest
