"""The saved state of a run, from which it resumes: one file, written atomically.

It has no random state: random numbers depend on the seed and the step.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from m3rag.errors import TrainingError

NAME = "state.safetensors"
_FORMAT = 1


@dataclass(slots=True)
class TrainingProgress:
    """The progress of a run.

    Attributes:
        step: The number of optimizer steps taken.
        queries: The number of queries seen, on all GPUs.
        tokens: The number of tokens that went through the network, on all GPUs.
        seconds: The time spent on steps.
        truncated: The number of texts whose end was cut off.
        losses: The loss and its parts at the last step.
        scores: The last scores on the held-out set.
        finished: Whether the run is over.
    """

    step: int = 0
    queries: int = 0
    tokens: int = 0
    seconds: float = 0.0
    truncated: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    finished: bool = False


class State:
    """The saved state of the run in a folder."""

    def __init__(
        self, folder: Path, identity: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
    ) -> None:
        """Describe a run; `identity` (data, model, settings) must be the same to resume it.

        A state that an earlier version saved lacks the settings that are newer; they had the values
        in `defaults`.
        """
        self.path = folder / NAME
        self.identity = dict(identity)
        self._defaults = dict(defaults or {})

    def save(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        progress: TrainingProgress,
        averages: Mapping[str, Tensor],
    ) -> None:
        """Write the trained parameters, their averages, the optimizer state and the progress."""
        tensors = {f"average.{name}": tensor for name, tensor in averages.items()}
        for name, parameter in _trained(network).items():
            tensors[f"model.{name}"] = parameter.detach()
            for key, value in optimizer.state[parameter].items():
                tensors[f"optimizer.{name}.{key}"] = value
        about = {"format": _FORMAT, "identity": self.identity, "progress": asdict(progress)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        save_file(
            {name: tensor.contiguous() for name, tensor in tensors.items()},
            new,
            metadata={"m3rag": json.dumps(about)},
        )
        with new.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(new, self.path)

    def progress(self) -> TrainingProgress | None:
        """Return the progress at the last save; None without one.

        Raises:
            TrainingError: The file is damaged or belongs to another run.
        """
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                about = json.loads(file.metadata()["m3rag"])
        except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
            raise TrainingError(
                f"{self.path} is not a saved training run ({type(error).__name__}: {error}). "
                "Delete it to start again."
            ) from error
        if about["format"] != _FORMAT:
            raise TrainingError(
                f"{self.path} has format {about['format']}, but this version of m3rag reads "
                f"{_FORMAT}. Resume with the version that wrote it."
            )
        self._compare(about["identity"])
        return TrainingProgress(**about["progress"])

    def load(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        averages: Mapping[str, Tensor],
    ) -> None:
        """Load what `save` wrote."""
        parameters = _trained(network)
        states: dict[Tensor, dict[str, Tensor]] = {}
        with safe_open(self.path, "pt") as file, torch.no_grad():
            keys: list[str] = file.keys()
            for full in keys:
                kind, _, name = full.partition(".")
                if kind in ("model", "average"):
                    (averages if kind == "average" else parameters)[name].copy_(
                        file.get_tensor(full)
                    )
                    continue
                name, _, key = name.rpartition(".")
                parameter = parameters[name]
                states.setdefault(parameter, {})[key] = file.get_tensor(full).to(parameter.device)
        optimizer.state.update(states)

    def _compare(self, saved: dict[str, Any]) -> None:
        saved = self._defaults | saved
        differences = [
            f"{name} was {saved.get(name)!r} and is {value!r}"
            for name, value in self.identity.items()
            if saved.get(name) != value
        ]
        if differences:
            raise TrainingError(
                f"{self.path.parent} holds another run: {'; '.join(differences)}. Resume it with "
                "the original data, model and settings, or train to another folder."
            )


def _trained(network: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in network.named_parameters() if p.requires_grad}
