"""What a run needs of a loss: tokens of groups, and the gradients of a batch of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from m3rag.training.example import Group


class TokenizedGroup(Protocol):
    """The tokens of a group."""

    @property
    def tokens(self) -> int:
        """The number of tokens that go through the network."""
        ...

    @property
    def cut(self) -> tuple[int, int]:
        """The number of queries and of passages that were cut."""
        ...


class Objective(Protocol):
    """A loss of a network on groups of texts."""

    def tokenize(self, groups: Sequence[Group]) -> Sequence[TokenizedGroup]:
        """Tokenize groups, cut to the maximum lengths of the settings."""
        ...

    def backward(self, groups: Sequence[Any], *, distil: bool) -> dict[str, float]:
        """Add the gradients of a batch to the parameters; returns the loss and its parts."""
        ...
