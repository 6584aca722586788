"""What all routes share: the knowledge bases, the models and the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from m3rag.bases import KnowledgeBases
from m3rag.encoder import Model
from m3rag.limits import shown
from m3rag.serve.config import ServeConfig
from m3rag.serve.errors import ServeError
from m3rag.serve.jobs import Jobs

if TYPE_CHECKING:
    from m3rag.model import M3CrossEncoder

T = TypeVar("T")


@dataclass(slots=True)
class Backend:
    """The state of a server.

    Attributes:
        bases: The open knowledge bases.
        config: The settings.
        ready: Whether new requests are welcome; false before the start and while draining.
        running: The number of requests that are worked on.
        jobs: The documents that wait to be added.
    """

    bases: KnowledgeBases
    config: ServeConfig
    ready: bool = False
    running: int = 0
    jobs: Jobs = field(default_factory=Jobs)

    @property
    def models(self) -> dict[str, Model]:
        """The models of embeddings by their name for clients, the usual one first."""
        models = list(self.bases.models.values())
        names = [model.name for model in models]
        if names and self.config.served_model_name is not None:
            names[0] = self.config.served_model_name
        return dict(zip(names, models, strict=True))

    @property
    def rerankers(self) -> dict[str, Model | M3CrossEncoder]:
        """What can sort texts by its name for clients: the cross-encoder first, if there is one."""
        first = self.config.cross_encoder
        return ({} if first is None else {first.name: first}) | self.models

    def model(self, name: str | None = None) -> Model:
        """Return a model by its name for clients; the usual one without a name.

        Raises:
            ServeError: There is none of this name.
        """
        return _named(self.models, name)

    def reranker(self, name: str | None = None) -> Model | M3CrossEncoder:
        """Return what sorts texts by its name for clients; the usual one without a name.

        Raises:
            ServeError: There is none of this name.
        """
        return _named(self.rerankers, name)


def _named(models: Mapping[str, T], name: str | None) -> T:
    if name is None and models:
        return next(iter(models.values()))
    if name is None or name not in models:
        raise ServeError(
            404,
            f"There is no model {shown(name)}. This server has {', '.join(map(repr, models))}.",
            code="model_not_found",
            param="model",
        )
    return models[name]
