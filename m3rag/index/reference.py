"""What stands for an index in another process: its place, its model's name, and its settings."""

from __future__ import annotations

import os
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

from m3rag.encoder import Model
from m3rag.errors import InputError
from m3rag.limits import Limits
from m3rag.model.lookup import ModelSpec
from m3rag.scoring import Analyzer
from m3rag.stores.base import Location, ServesModel

if TYPE_CHECKING:
    from m3rag.index.searching import SearchableCollection

_OPEN: weakref.WeakValueDictionary[tuple[int, str], SearchableCollection] = (
    weakref.WeakValueDictionary()
)


@dataclass(frozen=True, slots=True)
class IndexReference:
    """An index in a folder or behind a server, without its passages.

    Attributes:
        place: The absolute path of the folder, or the address on the server.
        model: A description of the model, or a model of another class.
        analyzer: The analyzer that the index was opened with, if any.
        limits: The limits that the index was opened with.
    """

    place: str
    model: ModelSpec | Model
    analyzer: Analyzer | None
    limits: Limits


def reference(index: SearchableCollection) -> IndexReference:
    """Return what stands for an index, and can be pickled.

    Raises:
        InputError: The index is in memory, or its model has no name.
    """
    spec = getattr(index.model, "spec", None)
    model = spec if isinstance(spec, ModelSpec) else index.model
    return IndexReference(_place(index.stored.location), model, index.analyzer, index.limits)


def note_open(index: SearchableCollection, location: Location) -> None:
    """Note that this process has the index of a folder open."""
    if location.path is not None:
        _OPEN[_key(os.path.abspath(location.path))] = index


def open_already(found: IndexReference) -> SearchableCollection | None:
    """Return the open index of this process for a reference; None if there is none."""
    index = _OPEN.get(_key(found.place))
    return None if index is None or index.closed else index


def model_for(found: IndexReference) -> Model:
    """Return the model of a reference, which the process shares.

    Raises:
        ModelMismatchError: The name refers to other weights in this process.
    """
    if not isinstance(found.model, ModelSpec):
        return found.model
    from m3rag.model.shared import model_of  # imports torch

    return model_of(found.model)


def _place(location: Location) -> str:
    if isinstance(location, ServesModel):
        return str(location)
    if location.path is None:
        raise InputError(
            "An index in memory cannot be pickled: its passages exist in this process only. Open "
            "it in a folder, M3Index.open(path, model=model), or add the passages again in the "
            "other process."
        )
    return os.path.abspath(location.path)


def _key(place: str) -> tuple[int, str]:
    return os.getpid(), os.path.realpath(place)
