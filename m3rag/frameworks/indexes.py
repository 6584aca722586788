"""Find or open the index that a class of a framework is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, TypedDict, Unpack

from m3rag.errors import InputError
from m3rag.frameworks.models import ModelLike, check_model, model_of
from m3rag.index.index import M3Index
from m3rag.index.manifest import ColbertMode, ContextMode, read_manifest
from m3rag.limits import Limits, shown
from m3rag.scoring import BM25, Analyzer
from m3rag.stores.base import Location, ServesModel
from m3rag.stores.location import locate


class HasIndex(Protocol):
    """A store or a retriever of m3rag."""

    @property
    def index(self) -> M3Index:
        """The index that it searches."""
        ...


IndexLike = M3Index | HasIndex | str | Path | Location
"""An index, something that holds one, or the folder of one."""

_HOLDERS = ("index", "vector_store", "vectorstore")
_DEEPEST = 3  # a retriever over a VectorStoreIndex over a store over an index


class Opening(TypedDict, total=False):
    """The arguments of `M3Index.open` besides the path and the model."""

    colbert: ColbertMode | None
    context: ContextMode | None
    create: bool
    analyzer: Analyzer | None
    bm25: BM25 | None
    limits: Limits


OPENING = tuple(Opening.__annotations__)
"""The names of these arguments."""


def opening_of(settings: dict[str, Any]) -> Opening:
    """Remove the arguments with which an index is opened from settings, and return them."""
    found: Any = {name: settings.pop(name) for name in OPENING if name in settings}
    return found  # type: ignore[no-any-return]


def open_index(
    path: str | Path | Location | None = None,
    *,
    model: ModelLike = None,
    new_colbert: ColbertMode | None = None,
    **opening: Unpack[Opening],
) -> M3Index:
    """Open an index with its own model, or create one; see `M3Index.open`.

    Args:
        path: The folder, or the address of an index of a server; None for an index in memory.
        model: A model, or the name of the process's shared model. Without one, an existing index
            gets the process's shared model of its own name, or that of its server, and a new one
            BAAI/bge-m3.
        new_colbert: The ColBERT mode of a new index; an existing one keeps its own. `colbert`
            requires a mode of both.
        opening: Arguments of `M3Index.open`.

    Raises:
        InputError: The path, the model or a setting is of another kind than it can be.
        FormatError: The folder is not an index, or is damaged.
        ModelMismatchError: Another model built the index.
        InUseError: The index is open already.
    """
    check_model(model)
    if not (path is None or isinstance(path, str | Path) or _is_location(path)):
        raise InputError(f"`path` must be the folder of an index, got {shown(path)}.")
    location = locate(path)
    if model is None and isinstance(location, ServesModel):
        return M3Index.open(location, **opening)
    exists = location.exists()
    if new_colbert is not None and not exists and opening.get("colbert") is None:
        opening["colbert"] = new_colbert
    if model is None and exists:
        model = read_manifest(location).model
    elif model is None and not opening.get("create", True):
        return M3Index.open(location, **opening)  # says that there is none
    return M3Index.open(location, model=model_of(model), **opening)


def index_of(given: object, *, model: ModelLike = None, name: str = "index") -> M3Index:
    """Return the index of something that has one, or open the folder of one.

    Args:
        given: An index; a store or a retriever of m3rag; a LlamaIndex `VectorStoreIndex` or a
            LangChain retriever over such a store; or the folder of an existing index.
        model: The model for a folder; that of the index by default.
        name: The name of the argument, for errors.

    Raises:
        InputError: It is nothing of this.
        FormatError: There is no index in the folder.
    """
    if isinstance(given, str | Path) or _is_location(given):
        return open_index(given, model=model, create=False)  # type: ignore[arg-type]
    way = _way(given, _DEEPEST)
    if not way:
        raise InputError(
            f"`{name}` must be an M3Index, an M3VectorStore or a retriever over one, or the folder "
            f"of an index, got {shown(given)}."
        )
    return way[-1]  # type: ignore[no-any-return]


def held_filters(given: object, name: str) -> list[Any]:
    """Return the filters that the holders of an index put on it, outermost first.

    Args:
        given: What `index_of` finds an index in.
        name: The attribute of the holders that has the filter.
    """
    found = (getattr(holder, name, None) for holder in _way(given, _DEEPEST)[:-1])
    return [where for where in found if where is not None]


def _way(given: object, depth: int) -> list[Any]:
    """Return the holders from an object to the index that it has, and the index; else nothing."""
    if isinstance(given, M3Index):
        return [given]
    if depth == 0 or isinstance(given, type):
        return []
    for name in _HOLDERS:
        held = getattr(given, name, None)
        if held is not None and (way := _way(held, depth - 1)):
            return [given, *way]
    return []


def _is_location(value: object) -> bool:
    return hasattr(value, "open_store") and hasattr(value, "engine")
