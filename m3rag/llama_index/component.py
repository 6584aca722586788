"""The model of a LlamaIndex component, described by fields and loaded on first use.

LlamaIndex copies components, writes their fields to caches and files, and sends them to worker
processes. A model cannot be copied this way, but its name and settings can.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from llama_index.core.bridge.pydantic import BaseModel, Field, PrivateAttr

from m3rag.encoder import Model
from m3rag.index import M3Index
from m3rag.index.manifest import ColbertMode
from m3rag.model import M3Model, ModelSpec
from m3rag.model.lookup import DEFAULT, locate
from m3rag.model.shared import model_of
from m3rag.model.tokenizer import Tokenizer

ModelLike = Model | str | Path | None
"""A model, its name, or None for the process's shared BGE-M3."""


def open_index(model: ModelLike, path: str | Path | None, colbert: ColbertMode | None) -> M3Index:
    """Open the index in a folder, or a new one in memory; see `M3Index.open`."""
    return M3Index.open(path, model=model_of(model), colbert=colbert)


class _Held:
    """A holder for the model: copies share it, and another process gets an empty one."""

    def __init__(self) -> None:
        self.model: Model | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> _Held:
        return self

    def __reduce__(self) -> tuple[type[_Held], tuple[()]]:
        return _Held, ()


class UsesModel(BaseModel):
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
        if isinstance(model, str | Path):
            settings["model_name"] = str(model)
        elif model is not None:
            settings |= {"model_name": model.name, "fingerprint": model.fingerprint}
            settings |= {name: str(getattr(model, name, "auto")) for name in ("device", "dtype")}
            settings["revision"] = getattr(model, "revision", None)
        super().__init__(**settings)
        if not isinstance(model, str | Path):
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
        if isinstance(self._held.model, M3Model):
            return self._held.model.tokenizer
        return _tokenizer(self.model_name, self.revision)

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
    return Tokenizer(locate(name, revision=revision) / "tokenizer.json")
