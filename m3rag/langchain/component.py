"""The arguments of constructors: unknown ones are refused, and an index is found or opened."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike

from pydantic import BaseModel

from m3rag.errors import InputError
from m3rag.frameworks import IndexLike, ModelLike, Opening, check_names, index_of, open_index
from m3rag.index.index import M3Index
from m3rag.index.manifest import ColbertMode


def check_fields(
    kind: type[BaseModel], given: Iterable[str], *, besides: tuple[str, ...] = ()
) -> None:
    """Check that the arguments of a constructor are fields of a class.

    Args:
        kind: The class.
        given: The names of the arguments.
        besides: Names of arguments that are not fields.

    Raises:
        ArgumentError: One is not; the message names the nearest field.
    """
    names = [n for n, field in kind.model_fields.items() if not field.exclude]
    check_names(kind.__name__, given, [*names, *besides])


def component_index(
    what: str,
    index: IndexLike | None,
    path: object,
    model: ModelLike,
    opening: Opening,
    *,
    new_colbert: ColbertMode | None = None,
    needed: bool = True,
) -> tuple[M3Index, bool]:
    """Return the index of a component, and whether it was opened for it.

    Args:
        what: The class, for errors.
        index: What has the index.
        path: The folder of an index to open or create.
        model: The model for it.
        opening: The settings for it.
        new_colbert: The ColBERT mode of a new index, unless `opening` has one.
        needed: Whether a new index needs a path or a model; otherwise it may be BAAI/bge-m3's.

    Raises:
        InputError: Both an index and something to open one with are given, or neither is.
    """
    if index is None:
        if needed and path is None and model is None:
            raise InputError(
                f"{what} needs an index: pass `index`, or `path` for a folder, or use "
                f"{what}.from_documents(…)."
            )
        found = open_index(path, model=model, new_colbert=new_colbert, **opening)  # type: ignore[arg-type]
        return found, True
    folder = isinstance(index, str | PathLike)
    given = {"path": path, **opening} if folder else {"model": model, "path": path, **opening}
    too_many = [f"`{name}`" for name, value in given.items() if value is not None]
    if too_many:
        raise InputError(
            f"`index` already has a model, a path and settings. Leave {', '.join(too_many)} out."
        )
    return index_of(index, model=model), folder
