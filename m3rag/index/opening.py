"""Open an existing index with its own settings, or create a new one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from m3rag.closing import closed_on_errors
from m3rag.encoder import Model
from m3rag.errors import InputError
from m3rag.index.manifest import (
    COLBERT_MODES,
    CONTEXTS,
    FORMAT,
    AnalyzerKind,
    ColbertMode,
    ContextMode,
    Manifest,
    read_manifest,
    write_manifest,
)
from m3rag.index.presets import Preset, read_presets, write_presets
from m3rag.scoring import BM25
from m3rag.stores.base import Location, ServesModel, Store


@dataclass(frozen=True, slots=True)
class StoredIndex:
    """An open index without its model: enough to read and delete passages.

    Attributes:
        location: The folder or URL of the index.
        manifest: The model that built the index, and its settings.
        presets: The weights that were saved in it when it was opened.
        store: The passages with their vectors.
    """

    location: Location
    manifest: Manifest
    presets: Mapping[str, Preset]
    store: Store

    def close(self) -> None:
        """Close the store; a second call does nothing."""
        self.store.close()


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """The settings that the caller requests; None accepts any, or the default of a new index.

    Raises:
        InputError: A mode does not exist.
    """

    colbert: ColbertMode | None = None
    context: ContextMode | None = None
    analyzer: AnalyzerKind = "model"
    bm25: BM25 | None = None

    def __post_init__(self) -> None:
        if self.colbert not in (None, *COLBERT_MODES):
            raise InputError(
                f'`colbert` must be "stored", "on-demand" or "off", got {self.colbert!r}.'
            )
        if self.context not in (None, *CONTEXTS):
            raise InputError(f'`context` must be "passage" or "document", got {self.context!r}.')


def open_index(
    location: Location, model: Model | None, settings: IndexSettings, *, create: bool
) -> tuple[StoredIndex, Model]:
    """Open the index at a location with its model, or create one.

    Args:
        location: The folder or URL of the index.
        model: The model that built the index, or the model for a new one; None loads the model of
            an existing index by name.
        settings: The settings that the caller requests.
        create: Whether to create an index where there is none.

    Raises:
        FormatError: The location is not an index, is damaged, or has a newer format.
        ModelMismatchError: Another model built the index.
        InUseError: Another process has the index open.
        InputError: The index was built with other settings, or a new index has no model.
    """
    if location.exists():
        manifest = read_manifest(location)
        _check_settings(location, manifest, settings)
        if model is None:
            model = _own_model(location, manifest)
        manifest.check_model(model, str(location))
        stored = _opened(location, manifest)
        stored.store.search([])  # starts the engine now, and not with the first query
        return stored, model
    location.check_new(create=create)
    model, manifest = _new(model, settings)
    return _created(location, manifest), model


def _own_model(location: Location, manifest: Manifest) -> Model:
    """Return the model of an existing index: that of its server, or loaded by its name."""
    if isinstance(location, ServesModel):
        return location.model()
    from m3rag.model import M3Model  # imports torch

    return M3Model.load(manifest.model)


def open_stored(location: Location) -> StoredIndex:
    """Open an existing index without its model.

    Raises:
        FormatError: There is no index, or it is damaged.
        InUseError: Another process has the index open.
    """
    return _opened(location, read_manifest(location))


def _opened(location: Location, manifest: Manifest) -> StoredIndex:
    store = location.open_store(manifest.widths)
    with closed_on_errors(store):
        presets = read_presets(location)
        if manifest.format < FORMAT and _writable(location):
            manifest = replace(manifest, format=FORMAT)
            write_manifest(location, manifest)
            if presets:
                write_presets(location, presets)
        return StoredIndex(location, manifest, presets, store)


def _writable(location: Location) -> bool:
    """Return whether the records can be written; a folder may be read-only."""
    return location.path is None or os.access(location.path, os.W_OK)


def _created(location: Location, manifest: Manifest) -> StoredIndex:
    """Create the store, then the manifest: where there is a manifest, there must be passages."""
    store = location.open_store(manifest.widths)
    with closed_on_errors(store):
        write_manifest(location, manifest)
        return StoredIndex(location, manifest, {}, store)


def _new(model: Model | None, settings: IndexSettings) -> tuple[Model, Manifest]:
    """Return the model and the manifest of a new index."""
    if model is None:
        raise InputError(
            'A new index needs a model: M3Index.open(path, model=M3Model.load("BAAI/bge-m3")), or '
            'M3Model.load("small"), which works offline.'
        )
    if settings.colbert == "on-demand" and settings.context == "document":
        raise InputError(
            'colbert="on-demand" encodes each candidate alone, but context="document" encodes the '
            'passages of a document together. Use colbert="stored" or "off" with it.'
        )
    manifest = Manifest.of(
        model,
        colbert=settings.colbert or "stored",
        context=settings.context or "passage",
        analyzer=settings.analyzer,
        bm25=settings.bm25 or BM25(),
    )
    return model, manifest


def _check_settings(location: Location, manifest: Manifest, settings: IndexSettings) -> None:
    """Check that an existing index has the requested settings."""
    for name in ("colbert", "context"):
        has, wanted = getattr(manifest, name), getattr(settings, name)
        if wanted not in (None, has):
            raise InputError(
                f"{location} was built with {name}={has!r}, which cannot change to {wanted!r}. "
                f"Leave `{name}` out, or index the documents into a new folder."
            )
    if settings.bm25 not in (None, manifest.bm25):
        raise InputError(
            f"{location} was built with {manifest.bm25}, which cannot change to {settings.bm25}. "
            "Leave `bm25` out, or index the documents into a new folder."
        )
    if settings.analyzer != manifest.analyzer:
        if manifest.analyzer == "custom":
            raise InputError(
                f"{location} was built with a custom analyzer. Pass the same one as `analyzer`."
            )
        raise InputError(
            f"{location} was built with the tokenizer of its model. Leave `analyzer` out."
        )
