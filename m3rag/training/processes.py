"""The processes of a run: one for each GPU, or only this one."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import distributed, nn

from m3rag.extras import require
from m3rag.model.kernels.device import choose_device


class Processes:
    """This process and the others that `accelerate launch` started.

    Attributes:
        count: The number of processes.
        rank: The number of this process, from 0.
        device: The device that this process computes on.
    """

    def __init__(self, device: str | torch.device) -> None:
        """Join the others; with several processes, `device` only says whether to use CPUs.

        Raises:
            InputError: The device does not exist.
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
        """Whether this process writes the files and reports."""
        return self.rank == 0

    def average_gradients(self, network: nn.Module) -> None:
        """Replace the gradients by their mean over all processes.

        DistributedDataParallel expects one backward pass per step; the gradient cache makes many.
        """
        if self.count == 1:
            return
        for parameter in network.parameters():
            if parameter.grad is not None:
                distributed.all_reduce(parameter.grad)
                parameter.grad /= self.count

    def total(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the sum of each value over all processes."""
        if self.count == 1:
            return dict(values)
        sums = torch.tensor(list(values.values()), dtype=torch.float32, device=self.device)
        distributed.all_reduce(sums)
        return dict(zip(values, sums.tolist(), strict=True))

    def wait(self) -> None:
        """Wait until all processes get here."""
        self._state.wait_for_everyone()
