"""The optimizer, AdamW, and the schedule of its learning rate."""

from __future__ import annotations

import math

import torch
from torch import nn

from m3rag.training.settings import FREEZABLE, TrainingSettings


def optimizer_of(network: nn.Module, settings: TrainingSettings) -> torch.optim.AdamW:
    """Return AdamW with a group each for word embeddings, other matrices, and vectors.

    Vectors (biases and norms) have no weight decay.
    """
    embeddings: list[nn.Parameter] = []
    matrices: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.startswith(FREEZABLE["embeddings"]):
            embeddings.append(parameter)
        else:
            (matrices if parameter.ndim > 1 else vectors).append(parameter)
    rate, decay = settings.learning_rate, settings.weight_decay
    groups = [
        {
            "params": embeddings,
            "peak": settings.embedding_learning_rate or rate,
            "weight_decay": decay,
        },
        {"params": matrices, "peak": rate, "weight_decay": decay},
        {"params": vectors, "peak": rate, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=rate, fused=True)


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
