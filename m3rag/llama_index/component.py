"""The model of a LlamaIndex component, described by fields and loaded on first use.

LlamaIndex copies components, writes their fields to caches and files, and sends them to worker
processes. A model cannot be copied this way, but its name and settings can.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from llama_index.core.bridge.pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from m3rag.encoder import Model, Tokenizer
from m3rag.errors import InputError
from m3rag.frameworks import (
    IndexLike,
    ModelLike,
    Opening,
    assign,
    check_model,
    check_names,
    index_of,
    model_of,
    names_of,
    open_index,
    own_errors,
)
from m3rag.index.index import M3Index
from m3rag.model.lookup import DEFAULT, ModelSpec, locate

_SPECIFIED = ("revision", "device", "dtype", "fingerprint")


def check_fields(kind: type[BaseModel], given: Iterable[str], besides: Iterable[str] = ()) -> None:
    """Check that the arguments of a constructor are fields of a class.

    Args:
        kind: The class.
        given: The names of the arguments. LlamaIndex also passes the class's name when it loads a
            component.
        besides: Names of arguments that are not fields.

    Raises:
        ArgumentError: One is not; the message names the nearest field.
    """
    names = [name for name in given if name != "class_name"]
    known = [*names_of(kind.__init__), *besides, *kind.model_fields]
    check_names(kind.__name__, names, dict.fromkeys(known))


def chosen_index(
    what: str,
    index: IndexLike | None,
    path: object,
    model: ModelLike,
    opening: Opening,
    *,
    in_memory: bool = False,
) -> tuple[M3Index, bool]:
    """Return the index of a component, and whether it was opened for it.

    Args:
        what: The class, for errors.
        index: What has the index.
        path: The folder of an index to open or create.
        model: The model for it.
        opening: The settings for it.
        in_memory: Whether a component without arguments gets a new index in memory.

    Raises:
        InputError: Both an index and something to open one with are given, or neither is.
    """
    if index is None:
        if path is None and model is None and not opening and not in_memory:
            raise InputError(
                f"{what} needs an index: pass `index`, or `path` for a folder, or use "
                f"{what}.from_documents(…)."
            )
        return open_index(path, model=model, **opening), True  # type: ignore[arg-type]
    folder = isinstance(index, str | Path)
    given = [*opening] if path is None else ["path", *opening]
    if model is not None and not folder:
        given.insert(0, "model")
    if given:
        names = " and ".join(f"`{name}`" for name in given)
        raise InputError(f"`index` already has a folder, a model and settings. Leave {names} out.")
    return index_of(index, model=model), folder


class _Held:
    """A holder for the model: copies share it, and another process gets an empty one."""

    def __init__(self) -> None:
        self.model: Model | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> _Held:
        return self

    def __reduce__(self) -> tuple[type[_Held], tuple[()]]:
        return _Held, ()


class Checked(BaseModel):
    """A mixin that checks an assigned attribute at once, and refuses those that do not exist."""

    model_config = ConfigDict(validate_assignment=True)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
            return
        check_fields(type(self), [name])
        assign(self, name, value, super().__setattr__)

    def _check(self) -> None:
        """Check the fields together; each of them is of its type already."""


class OverAnIndex:
    """A mixin for components with an index, which is pickled by its folder, not by its content."""

    def __reduce__(self) -> tuple[Any, ...]:
        component: Any = self
        kept = [name for name, field in type(component).model_fields.items() if not field.exclude]
        fields = {name: getattr(component, name) for name in kept}
        return _restored, (type(component), component._index, fields)


def _restored(kind: Any, index: M3Index | None, fields: dict[str, Any]) -> Any:
    """Return a component that was pickled."""
    return kind(index=index, **fields)


class UsesModel(Checked):
    """A mixin for components, with the fields that describe a model.

    Args:
        model: A model, or a name for `M3Model.load`; None for the shared model that the fields
            describe.
        settings: The fields of the component.
    """

    model_name: str = Field(default=DEFAULT, description="A hub id, a folder, 'small' or 'tiny'.")
    revision: str | None = Field(default=None, description="The branch, tag or commit on the hub.")
    device: str = Field(default="auto", description="The device that runs the model.")
    dtype: str = Field(default="auto", description="The data type of the computation.")
    fingerprint: str | None = Field(default=None, description="The model's fingerprint.")
    _held: _Held = PrivateAttr(default_factory=_Held)

    def __init__(self, *, model: ModelLike = None, **settings: Any) -> None:
        check_fields(type(self), settings)
        check_model(model)
        if isinstance(model, ModelSpec):
            settings |= {field: getattr(model, field) for field in _SPECIFIED}
            settings |= {"model_name": model.name}
        elif isinstance(model, str | Path):
            settings["model_name"] = str(model)
        elif model is not None:
            settings |= {"model_name": model.name, "fingerprint": model.fingerprint}
            settings |= {name: str(getattr(model, name, "auto")) for name in ("device", "dtype")}
            settings["revision"] = getattr(model, "revision", None)
        with own_errors(type(self).__name__):
            super().__init__(**settings)
        if not isinstance(model, str | Path | ModelSpec):
            self._held.model = model

    @property
    def model(self) -> Model:
        """The model, loaded on first use.

        Raises:
            ModelMismatchError: The model of this name does not have the expected fingerprint.
        """
        if self._held.model is None:
            self._held.model = model_of(self.spec)
        return self._held.model

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer, available without loading the weights."""
        if self._held.model is not None:
            return self._held.model.tokenizer
        return _tokenizer(self.model_name, self.revision)

    @property
    def passage_tokens(self) -> int:
        """The length of passages that suits the model, known without loading the weights."""
        if self._held.model is not None:
            return self._held.model.passage_tokens
        return _passage_tokens(self.model_name, self.revision)

    @property
    def spec(self) -> ModelSpec:
        """The model specification from the fields."""
        return ModelSpec(
            name=self.model_name,
            revision=self.revision,
            device=self.device,
            dtype=self.dtype,
            fingerprint=self.fingerprint,
        )


@cache
def _tokenizer(name: str, revision: str | None) -> Tokenizer:
    from m3rag.model.tokenizer import Tokenizer as Loaded  # imports tokenizers

    return Loaded(locate(name, revision=revision) / "tokenizer.json")


@cache
def _passage_tokens(name: str, revision: str | None) -> int:
    from m3rag.model.architecture import passage_tokens, read_config  # imports torch

    return passage_tokens(read_config(locate(name, revision=revision)))
