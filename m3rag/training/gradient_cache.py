"""Large batches in little memory: the loss sees all texts, the network a few at a time.

Source: Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup",
arXiv 2101.06983.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

Chunk = TypeVar("Chunk")
Losses = TypeVar("Losses", Tensor, dict[str, Tensor])
Views = tuple[Tensor, ...]


def cached_backward(
    encode: Callable[[Chunk], Views],
    chunks: Sequence[Chunk],
    loss: Callable[[list[Views]], Losses],
) -> Losses:
    """Add the gradients of `loss([encode(c) for c in chunks])` to the parameters.

    Each chunk is encoded twice: first without a graph, for the loss, whose gradients stop at the
    representations; then with a graph, through which these gradients continue. Only one chunk's
    activations are in memory at a time. Random numbers repeat, so that dropout drops the same
    units, and the generators end in the state in which one plain pass would leave them. The
    gradients are those of the plain step.

    Args:
        encode: A function from a chunk to its representations; tensors that are not floating-point
            (ids, masks) are passed on.
        chunks: The arguments of `encode`, each small enough for memory.
        loss: A function from all chunks' representations to a scalar, or to a dict whose "loss" is
            one.

    Returns:
        The result of `loss`, detached.
    """
    states, leaves = [], []
    for chunk in chunks:
        states.append(_random_state())
        with torch.no_grad():
            views = encode(chunk)
        leaves.append(tuple(v.detach().requires_grad_(v.is_floating_point()) for v in views))
    losses = loss(leaves)
    torch.autograd.backward(_total(losses))
    for chunk, state, leaf in zip(chunks, states, leaves, strict=True):
        with _replayed(state):
            views = encode(chunk)
        used = [i for i, x in enumerate(leaf) if x.grad is not None]
        torch.autograd.backward([views[i] for i in used], [leaf[i].grad for i in used])
    return _detached(losses)


def _total(losses: Tensor | Mapping[str, Tensor]) -> Tensor:
    return losses if isinstance(losses, Tensor) else losses["loss"]


def _detached(losses: Losses) -> Losses:
    if isinstance(losses, Tensor):
        return losses.detach()
    return {name: part.detach() for name, part in losses.items()}


def _devices() -> list[int]:
    """Return the GPU in use, if there is one."""
    return [torch.cuda.current_device()] if torch.cuda.is_available() else []


def _random_state() -> list[Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(d) for d in _devices())]


@contextmanager
def _replayed(state: list[Tensor]) -> Iterator[None]:
    """Draw random numbers from the given state, then restore the current one."""
    with torch.random.fork_rng(_devices()):
        torch.set_rng_state(state[0])
        for device, gpu_state in zip(_devices(), state[1:], strict=True):
            torch.cuda.set_rng_state(gpu_state, device)
        yield
