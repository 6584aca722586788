"""Finding, checking and making an index's folder."""

from __future__ import annotations

from pathlib import Path

from m3rag.errors import FormatError, InputError
from m3rag.index.edge import EdgeStore
from m3rag.index.manifest import (
    COLBERT_MODES,
    CONTEXTS,
    NAME,
    Manifest,
    read_manifest,
    write_manifest,
)
from m3rag.index.views import Model
from m3rag.scoring import BM25


def new_manifest(
    model: Model | None,
    colbert: str | None,
    context: str | None,
    custom_analyzer: bool,
    bm25: BM25 | None,
) -> tuple[Model, Manifest]:
    """The settings of an index that does not exist yet."""
    if model is None:
        raise InputError(
            'A new index needs a model: M3Index.open(path, model=M3Model.load("BAAI/bge-m3")).'
        )
    if check_mode(colbert) == "on-demand" and check_context(context) == "document":
        raise InputError(
            'colbert="on-demand" encodes a found passage alone, and context="document" all of a '
            'document together: use colbert="stored" or "off" with it.'
        )
    manifest = Manifest.of(
        model,
        colbert=colbert or "stored",
        context=check_context(context) or "passage",
        analyzer="custom" if custom_analyzer else "model",
        bm25=bm25 or BM25(),
    )
    return model, manifest


def check_mode(colbert: str | None) -> str | None:
    """Refuse a ColBERT mode that does not exist."""
    if colbert is not None and colbert not in COLBERT_MODES:
        modes = ", ".join(f'"{mode}"' for mode in COLBERT_MODES)
        raise InputError(f"No colbert mode is called {colbert!r}; there are {modes}.")
    return colbert


def check_context(context: str | None) -> str | None:
    """Refuse a context that does not exist."""
    if context is not None and context not in CONTEXTS:
        names = " and ".join(f'"{name}"' for name in CONTEXTS)
        raise InputError(f"No context is called {context!r}; there are {names}.")
    return context


def old_manifest(
    folder: Path,
    model: Model | None,
    colbert: str | None,
    context: str | None,
    custom_analyzer: bool,
    bm25: BM25 | None,
) -> tuple[Model, Manifest]:
    """The settings of an index that exists, and its model, which is loaded by name if not given.

    Raises:
        FormatError: the folder is not an index, or one of a newer format.
        ModelMismatchError: it was made by another model.
        InputError: it was made with other settings than those that are asked for.
    """
    manifest = read_manifest(folder)
    if check_mode(colbert) not in (None, manifest.colbert):
        raise InputError(
            f"{folder} was made with colbert={manifest.colbert!r} and cannot become "
            f"{colbert!r}: leave colbert out, or index the documents into a new folder."
        )
    if check_context(context) not in (None, manifest.context):
        raise InputError(
            f"{folder} was made with context={manifest.context!r} and cannot become "
            f"{context!r}: leave context out, or index the documents into a new folder."
        )
    if bm25 not in (None, manifest.bm25):
        raise InputError(f"{folder} was made with {manifest.bm25}, and cannot become {bm25}.")
    if custom_analyzer != (manifest.analyzer == "custom"):
        raise InputError(
            f"{folder} was made with the {manifest.analyzer} analyzer: open it "
            + ("with the same analyzer=…" if manifest.analyzer == "custom" else "without one.")
        )
    if model is None:
        from m3rag.model import M3Model

        model = M3Model.load(manifest.model)
    manifest.check_model(model, str(folder))
    return model, manifest


def is_new(folder: Path, *, create: bool) -> bool:
    """Whether an index is to be made there.

    Raises:
        FormatError: there is none and `create` is False, or something else is in its place.
    """
    if folder.exists() and not folder.is_dir():
        raise FormatError(f"{folder} is a file, not the folder of an index.")
    if (folder / NAME).exists():
        return False
    if not create:
        state = "holds no index" if folder.exists() else "does not exist"
        raise FormatError(f"{folder} {state}, and create=False asks for one that exists.")
    strangers = (
        [p.name for p in folder.iterdir() if p.name != f"{NAME}.new"] if folder.exists() else []
    )
    if strangers:
        raise FormatError(
            f"{folder} is not an m3rag index ({NAME} is missing) and not empty: it has "
            f"{sorted(strangers)[0]!r}. Choose a new folder."
        )
    return True


def open_store(folder: Path, manifest: Manifest, *, new: bool) -> EdgeStore:
    """The store of a checked folder; a new one is made."""
    if new:
        folder.mkdir(parents=True, exist_ok=True)
        write_manifest(folder, manifest)
    stored = manifest.colbert == "stored"
    return EdgeStore(folder, dim=manifest.dim, colbert_dim=manifest.colbert_dim if stored else None)
