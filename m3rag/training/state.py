"""What a run needs to go on after it was stopped or killed: one file, written whole or not at all.

Random numbers are not in it: they follow from the seed and the step.
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
    """How far a run is.

    Attributes:
        step: optimizer steps taken.
        queries: seen so far, on all GPUs.
        tokens: that went through the network, on all GPUs.
        seconds: spent on steps.
        truncated: texts whose end was cut off.
        losses: the loss and its parts at the last step.
        scores: of the held-out set, when it was last measured.
        finished: whether the run is over.
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

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        """`identity` is what must be the same for the run to go on: data, model, settings."""
        self.path = folder / NAME
        self.identity = dict(identity)

    def save(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, progress: TrainingProgress
    ) -> None:
        """Write what learns, the optimizer's memory and the progress."""
        tensors = {}
        for name, parameter in _learning(network).items():
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
        """How far the run was when it was saved; None where nothing was.

        Raises:
            TrainingError: the file is damaged, or is another run's.
        """
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                about = json.loads(file.metadata()["m3rag"])
        except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
            raise TrainingError(
                f"{self.path} is no saved training run ({type(error).__name__}: {error}). Delete "
                "it to begin again."
            ) from error
        if about["format"] != _FORMAT:
            raise TrainingError(
                f"{self.path} has format {about['format']}, this m3rag reads {_FORMAT}. Go on "
                "with the m3rag that wrote it."
            )
        self._compare(about["identity"])
        return TrainingProgress(**about["progress"])

    def load(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Put back what `save` wrote."""
        learning = _learning(network)
        memory: dict[Tensor, dict[str, Tensor]] = {}
        with safe_open(self.path, "pt") as file, torch.no_grad():
            for full in file.keys():  # noqa: SIM118 (not a dict)
                kind, _, name = full.partition(".")
                if kind == "model":
                    learning[name].copy_(file.get_tensor(full))
                    continue
                name, _, key = name.rpartition(".")
                parameter = learning[name]
                memory.setdefault(parameter, {})[key] = file.get_tensor(full).to(parameter.device)
        optimizer.state.update(memory)

    def _compare(self, saved: Mapping[str, Any]) -> None:
        differences = [
            f"{name} was {saved.get(name)!r} and is {value!r}"
            for name, value in self.identity.items()
            if saved.get(name) != value
        ]
        if differences:
            raise TrainingError(
                f"{self.path.parent} holds another run: {'; '.join(differences)}. Go on with what "
                "it was started with, or train to another folder."
            )


def _learning(network: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in network.named_parameters() if p.requires_grad}
