"""What all routes share: the knowledge bases, the models and the settings."""

from __future__ import annotations

from dataclasses import dataclass, field

from m3rag.bases import KnowledgeBases
from m3rag.encoder import Model
from m3rag.limits import shown
from m3rag.serve.config import ServeConfig
from m3rag.serve.errors import ServeError
from m3rag.serve.jobs import Jobs


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
        """The models by their name for clients, the usual one first."""
        models = list(self.bases.models.values())
        names = [model.name for model in models]
        if names and self.config.served_model_name is not None:
            names[0] = self.config.served_model_name
        return dict(zip(names, models, strict=True))

    def model(self, name: str | None = None) -> Model:
        """Return a model by its name for clients; the usual one without a name.

        Raises:
            ServeError: There is none of this name.
        """
        models = self.models
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
