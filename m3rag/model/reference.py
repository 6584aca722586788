"""Pickles and copies of a model: a description in place of the weights."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, ClassVar, Self

from m3rag.model.lookup import ModelSpec


class ByReference:
    """Pickled as the description of a model, from which the process's shared model is loaded.

    A copy, deep or not, is the model itself: it stands for a thread and its weights.
    """

    _opener: ClassVar[str] = "model_of"  # the function of m3rag.model.shared that takes a `spec`

    @property
    def spec(self) -> ModelSpec:
        """A picklable description of the model."""
        raise NotImplementedError

    def __reduce__(self) -> tuple[Callable[[ModelSpec], Any], tuple[ModelSpec]]:
        # By name, because that module imports the model, which imports this one.
        return getattr(import_module("m3rag.model.shared"), self._opener), (self.spec,)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self
