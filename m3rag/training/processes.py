"""The processes that train together: one for each GPU, or just this one."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import distributed, nn

from m3rag.extras import require
from m3rag.model.kernels.device import choose_device


class Processes:
    """This process among those that `accelerate launch` started.

    Attributes:
        count: how many there are.
        rank: which one this is.
        device: where it computes.
    """

    def __init__(self, device: str | torch.device) -> None:
        """Join the others; among several, `device` says whether to compute on CPUs.

        Raises:
            InputError: there is no such device.
            MissingExtraError: accelerate is not installed.
        """
        require("accelerate", "train")
        from accelerate import PartialState

        wanted = choose_device(device)
        self._state = PartialState(cpu=wanted.type == "cpu")
        self.count, self.rank = int(self._state.num_processes), int(self._state.process_index)
        self.device = wanted if self.count == 1 else torch.device(self._state.device)

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and tells."""
        return self.rank == 0

    def average_gradients(self, network: nn.Module) -> None:
        """Give every process the mean gradient.

        Not by DistributedDataParallel, which counts on one backward pass a step: the gradient
        cache makes many.
        """
        if self.count == 1:
            return
        for parameter in network.parameters():
            if parameter.grad is not None:
                distributed.all_reduce(parameter.grad)
                parameter.grad /= self.count

    def total(self, values: Mapping[str, float]) -> dict[str, float]:
        """The sum of each value over all processes."""
        if self.count == 1:
            return dict(values)
        sums = torch.tensor(list(values.values()), dtype=torch.float32, device=self.device)
        distributed.all_reduce(sums)
        return dict(zip(values, sums.tolist(), strict=True))

    def wait(self) -> None:
        """Go on when all have come here."""
        self._state.wait_for_everyone()
