"""Opening an index: an existing one with its own settings, or a new one."""

from __future__ import annotations

from dataclasses import dataclass

from m3rag.encoder import Model
from m3rag.errors import InputError
from m3rag.index.manifest import (
    COLBERT_MODES,
    CONTEXTS,
    AnalyzerKind,
    ColbertMode,
    ContextMode,
    Manifest,
    read_manifest,
    write_manifest,
)
from m3rag.scoring import BM25
from m3rag.stores.base import Location, Store


@dataclass(frozen=True, slots=True)
class StoredIndex:
    """An open index without its model: enough to read and delete passages.

    Attributes:
        location: where it is.
        manifest: which model built it, and with which settings.
        store: its passages, with their vectors.
    """

    location: Location
    manifest: Manifest
    store: Store

    def close(self) -> None:
        """Close the store; a second call does nothing."""
        self.store.close()


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """What the caller asks of an index; None leaves the choice to the index.

    Raises:
        InputError: A mode that does not exist.
    """

    colbert: ColbertMode | None = None
    context: ContextMode | None = None
    analyzer: AnalyzerKind = "model"
    bm25: BM25 | None = None

    def __post_init__(self) -> None:
        if self.colbert not in (None, *COLBERT_MODES):
            modes = ", ".join(f'"{mode}"' for mode in COLBERT_MODES)
            raise InputError(f"No colbert mode is called {self.colbert!r}; there are {modes}.")
        if self.context not in (None, *CONTEXTS):
            names = " and ".join(f'"{name}"' for name in CONTEXTS)
            raise InputError(f"No context is called {self.context!r}; there are {names}.")


def open_index(
    location: Location, model: Model | None, settings: IndexSettings, *, create: bool
) -> tuple[StoredIndex, Model]:
    """Open the index at a location with its model, or create one.

    Args:
        location: Where it is.
        model: What built it or is to build it; None loads an existing index's own by name.
        settings: What the caller asks for.
        create: Whether to create an index where there is none.

    Raises:
        FormatError: The place holds something else, or an index of a newer format.
        ModelMismatchError: Another model built it.
        InUseError: Another process has it open.
        InputError: It was built with other settings, or a new one has no model.
    """
    if location.exists():
        manifest = read_manifest(location)
        _check_settings(location, manifest, settings)
        if model is None:
            from m3rag.model import M3Model  # imports torch

            model = M3Model.load(manifest.model)
        manifest.check_model(model, str(location))
    else:
        location.check_new(create=create)
        model, manifest = _new(model, settings)
        write_manifest(location, manifest)
    return _opened(location, manifest), model


def open_stored(location: Location) -> StoredIndex:
    """Open an existing index without its model.

    Raises:
        FormatError: There is no index, or it is damaged.
        InUseError: Another process has it open.
    """
    return _opened(location, read_manifest(location))


def _opened(location: Location, manifest: Manifest) -> StoredIndex:
    colbert_dim = manifest.colbert_dim if manifest.colbert == "stored" else None
    store = location.open_store(dim=manifest.dim, colbert_dim=colbert_dim)
    return StoredIndex(location, manifest, store)


def _new(model: Model | None, settings: IndexSettings) -> tuple[Model, Manifest]:
    """Return the model and the manifest of a new index."""
    if model is None:
        raise InputError(
            'A new index needs a model: M3Index.open(path, model=M3Model.load("BAAI/bge-m3")).'
        )
    if settings.colbert == "on-demand" and settings.context == "document":
        raise InputError(
            'colbert="on-demand" encodes a found passage alone, and context="document" all of a '
            'document together: use colbert="stored" or "off" with it.'
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
    """Check that an existing index has the settings that the caller asks for."""
    for name in ("colbert", "context"):
        has, wanted = getattr(manifest, name), getattr(settings, name)
        if wanted not in (None, has):
            raise InputError(
                f"{location} was made with {name}={has!r} and cannot become {wanted!r}: leave "
                f"{name} out, or index the documents into a new folder."
            )
    if settings.bm25 not in (None, manifest.bm25):
        raise InputError(
            f"{location} was made with {manifest.bm25}, and cannot become {settings.bm25}."
        )
    if settings.analyzer != manifest.analyzer:
        raise InputError(
            f"{location} was made with the {manifest.analyzer} analyzer: open it "
            + ("with the same analyzer=…" if manifest.analyzer == "custom" else "without one.")
        )
