"""The optimizer, AdamW, and the schedule of its learning rate."""

from __future__ import annotations

import math

import torch
from torch import nn

from m3rag.training.settings import FREEZABLE, TrainingSettings


def optimizer_of(network: nn.Module, settings: TrainingSettings) -> torch.optim.AdamW:
    """Return AdamW with a group for each combination of peak rate and weight decay.

    Word embeddings and heads may have a rate of their own. Vectors (biases and norms) have no
    weight decay.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            decay = settings.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((_peak(name, settings), decay), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "peak": peak, "weight_decay": decay}
            for (peak, decay), parameters in groups.items()
        ],
        lr=settings.learning_rate,
        fused=True,
    )


def _peak(name: str, settings: TrainingSettings) -> float:
    """Return the peak learning rate of a parameter."""
    own = None
    if name.startswith(FREEZABLE["embeddings"]):
        own = settings.embedding_learning_rate
    elif not name.startswith(FREEZABLE["encoder"]):
        own = settings.head_learning_rate
    return own or settings.learning_rate


def set_rate(optimizer: torch.optim.Optimizer, settings: TrainingSettings, done: float) -> float:
    """Set each group's learning rate; returns it as a share of its peak.

    Args:
        optimizer: An optimizer of `optimizer_of`.
        settings: The settings of the run.
        done: The share of the run that is over.
    """
    share = rate_at(settings, done)
    for group in optimizer.param_groups:
        group["lr"] = share * group["peak"]
    return share


def rate_at(settings: TrainingSettings, done: float) -> float:
    """Return the learning rate as a share of its peak, when the share `done` of the run is over."""
    if done < settings.warm_up:
        return done / settings.warm_up
    falling = (done - settings.warm_up) / (1 - settings.warm_up) if settings.warm_up < 1 else 0.0
    if settings.schedule == "linear":
        return 1 - falling
    if settings.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * falling))
    return 1.0
