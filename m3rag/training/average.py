"""The moving average of the weights of a run, which is often better than the last weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """An exponential moving average of the parameters that are trained.

    It starts quickly: after step n, the decay is at most `n / (n + 9)`, so the start of the run is
    soon forgotten.

    Attributes:
        tensors: The averages by the name of the parameter, float32.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        self._trained = {n: p for n, p in network.named_parameters() if p.requires_grad}
        self.tensors: dict[str, Tensor] = {
            name: parameter.detach().clone() for name, parameter in self._trained.items()
        }

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Add the weights after a step; the first step is 1."""
        decay = min(self._decay, step / (step + 9))
        for name, average in self.tensors.items():
            average.lerp_(self._trained[name], 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the averages in the place of the weights while the `with` block runs."""
        own = {name: parameter.data for name, parameter in self._trained.items()}
        try:
            for name, parameter in self._trained.items():
                parameter.data = self.tensors[name]
            yield
        finally:
            for name, parameter in self._trained.items():
                parameter.data = own[name]
