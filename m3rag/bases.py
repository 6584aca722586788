"""Several indexes by name, as servers open them, with one shared model for each model name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from m3rag.closing import Closing, closed_on_errors
from m3rag.encoder import Model
from m3rag.errors import FormatError, InputError
from m3rag.frameworks.indexes import open_index
from m3rag.frameworks.models import model_of
from m3rag.index.index import M3Index
from m3rag.limits import shown
from m3rag.stores.filtered import FilteredStore
from m3rag.stores.filters import And, Equals, Where, parse_filter
from m3rag.stores.location import locate

_NAME = re.compile(r"\w[\w.-]{0,99}")


class NoSuchBaseError(InputError):
    """There is no knowledge base of a name."""


class KnowledgeBases(Closing):
    """Open indexes by name; any thread may use them.

    Attributes:
        models: The models by name: first the given one, then those of the indexes.
    """

    def __init__(self, indexes: Mapping[str, M3Index], models: Mapping[str, Model]) -> None:
        self._indexes = dict(indexes)
        self.models = MappingProxyType(dict(models))

    @classmethod
    def open(
        cls, specs: Sequence[str], *, model: str | Path | None = None, create: bool = False
    ) -> KnowledgeBases:
        """Open knowledge bases; indexes with the same model share it.

        Args:
            specs: "NAME=PLACE", or a folder or URL, whose last part is then the name; none for a
                server of a model only.
            model: The name or folder of a model that is loaded besides those of the indexes. A new
                index gets it.
            create: Whether to create an index where there is none.

        Raises:
            InputError: Two have the same name, or a name cannot be part of a URL.
            FormatError: A place holds no index, or a damaged one.
            InUseError: Another process has one of them open.
            CheckpointError: A model cannot be loaded.
        """
        given = None if model is None else model_of(model)
        models: dict[str, Model] = {} if given is None else {given.name: given}
        opened = cls({}, models)
        with closed_on_errors(opened):
            for name, place in named(specs).items():
                index = _open(place, given, create=create)
                opened._indexes[name] = index
                models.setdefault(index.model.name, index.model)
        opened.models = MappingProxyType(models)
        return opened

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in the order in which they were given."""
        return tuple(self._indexes)

    @property
    def default(self) -> str | None:
        """The name of the knowledge base if there is only one; else None."""
        return self.names[0] if len(self._indexes) == 1 else None

    def get(self, name: str) -> M3Index:
        """Return a knowledge base.

        Raises:
            NoSuchBaseError: There is none of this name; the message lists the names.
        """
        if name not in self._indexes:
            names = ", ".join(self._indexes) or "none"
            raise NoSuchBaseError(f"There is no knowledge base {shown(name)}. There are: {names}.")
        return self._indexes[name]

    def close(self) -> None:
        """Close all indexes; a second call does nothing. Shared models stay loaded."""
        for index in self._indexes.values():
            index.close()


def within(index: M3Index, where: Where) -> M3Index:
    """Return the part of an index that matches a filter, as an index; the filter holds for writes.

    It shares the store and the model with the whole index, and closes with it.

    Raises:
        InputError: The filter is invalid.
    """
    tree = parse_filter(where, index.limits)
    if tree is None:
        return index
    store = FilteredStore(index.stored.store, tree)
    stored = replace(index.stored, store=store, presets=dict(index.presets))
    return M3Index(stored, index.model, analyzer=index.analyzer, limits=index.limits)


def required(where: Where) -> dict[str, Any]:
    """Return the metadata that a filter requires by equality, such as `{"tenant": "ann"}`."""
    tree = parse_filter(where)
    parts = tree.parts if isinstance(tree, And) else (tree,)
    return {
        part.field: part.value
        for part in parts
        if isinstance(part, Equals) and "." not in part.field and not part.field.startswith("$")
    }


def named(specs: Sequence[str]) -> dict[str, str]:
    """Return the places of knowledge bases by name, from "NAME=PLACE" or a folder or URL.

    Raises:
        InputError: Two have the same name, or a name cannot be part of a URL.
    """
    places: dict[str, str] = {}
    for spec in specs:
        name, sign, place = spec.partition("=")
        if not (sign and _NAME.fullmatch(name)):
            place = spec
            name = place.rstrip("/").rpartition("/")[2] if "://" in place else _folder_name(place)
        if not _NAME.fullmatch(name):
            raise InputError(
                f"The knowledge base {shown(place)} needs a name of letters, digits, '_', '-' and "
                f"'.'. Give it one: NAME={place}"
            )
        if name in places:
            raise InputError(
                f"Two knowledge bases are named {name!r}: {places[name]} and {place}. Give one of "
                f"them another name: NAME={place}"
            )
        places[name] = place
    return places


def _folder_name(place: str) -> str:
    return Path(place).resolve().name


def check_exists(place: str) -> None:
    """Check that there is a knowledge base in a place, without opening it.

    Raises:
        FormatError: There is none.
        StorageError: The server of a URL cannot be reached.
    """
    if not locate(place).exists():
        raise FormatError(
            f"{place} holds no knowledge base. Make one: m3rag index DOCUMENTS --to {place}"
        )


def _open(place: str, model: Model | None, *, create: bool) -> M3Index:
    location = locate(place)
    if create and not location.exists():
        return open_index(location, model=model)
    check_exists(place)
    return open_index(location, create=False)
