"""Large batches in small memory: the loss sees all texts, the network a few at a time.

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
    """Add to the parameters the gradients of `loss([encode(c) for c in chunks])`.

    Every chunk is encoded twice: without a graph for the loss, whose gradients stop at the
    representations, then with one through which they go on. Only one chunk's activations are
    alive at a time. Random numbers repeat, so that dropout drops the same, and the generators end
    where one plain pass would leave them. The gradients are those of the plain step.

    Args:
        encode: texts to representations; what is not floating-point (ids, masks) is passed on.
        chunks: what `encode` takes, each small enough for memory.
        loss: of all chunks' representations, a scalar, or a dict whose "loss" is one.

    Returns:
        What `loss` returned, detached.
    """
    states, leaves = [], []
    for chunk in chunks:
        states.append(_random_state())
        with torch.no_grad():
            views = encode(chunk)
        leaves.append(tuple(v.detach().requires_grad_(v.is_floating_point()) for v in views))
    losses = loss(leaves)
    _total(losses).backward()  # type: ignore[no-untyped-call]
    for chunk, state, leaf in zip(chunks, states, leaves, strict=True):
        with _replayed(state):
            views = encode(chunk)
        reached = [i for i, x in enumerate(leaf) if x.grad is not None]
        torch.autograd.backward([views[i] for i in reached], [leaf[i].grad for i in reached])
    return _detached(losses)


def _total(losses: Tensor | Mapping[str, Tensor]) -> Tensor:
    return losses if isinstance(losses, Tensor) else losses["loss"]


def _detached(losses: Losses) -> Losses:
    if isinstance(losses, Tensor):
        return losses.detach()
    return {name: part.detach() for name, part in losses.items()}


def _devices() -> list[int]:
    """The GPU in use, if there is one."""
    return [torch.cuda.current_device()] if torch.cuda.is_available() else []


def _random_state() -> list[Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(d) for d in _devices())]


@contextmanager
def _replayed(state: list[Tensor]) -> Iterator[None]:
    """Draw from the given state, then go on as if nothing had been drawn."""
    with torch.random.fork_rng(_devices()):
        torch.set_rng_state(state[0])
        for device, gpu_state in zip(_devices(), state[1:], strict=True):
            torch.cuda.set_rng_state(gpu_state, device)
        yield
