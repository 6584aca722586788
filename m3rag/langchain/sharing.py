"""Copies and pickles of classes that hold a model: a copy shares it, and a pickle names it."""

from __future__ import annotations

from typing import Any, Self

from m3rag.encoder import Model
from m3rag.frameworks import model_of


class SharesModel:
    """A mixin for classes with a `model`.

    A copy in the same process has the same model. A pickle has the name and the settings of the
    model, and another process loads it once for all, as `shared_model` does. A model of your own
    must be picklable itself.
    """

    model: Model

    def __copy__(self) -> Self:
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def __deepcopy__(self, memo: object) -> Self:
        return self.__copy__()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "model": named(self.model)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({**state, "model": model_of(state["model"])})


def named(model: Model) -> Any:
    """Return the description of a model, or a model that has none."""
    return getattr(model, "spec", model)
