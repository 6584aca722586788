"""A least-recently-used cache of views, bounded in bytes.

Frameworks request the dense and the sparse vectors of the same texts one after the other; with the
memo, the second request needs no pass. It counts bytes instead of texts because the ColBERT matrix
of 8,192 tokens takes 32 MB.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Unit(NamedTuple):
    """Texts that are encoded together and attend to each other; usually a single text.

    Attributes:
        texts: The texts, in order.
        limit: The most tokens of each text.
        mcls: The number of tokens after which another `<s>` is inserted; None for one `<s>`, at the
            start.
    """

    texts: tuple[str, ...]
    limit: int
    mcls: int | None = None


@dataclass(frozen=True, slots=True)
class TextViews:
    """The views of one text, in arrays that own their memory.

    Attributes:
        n_tokens: The number of encoded tokens.
        total_tokens: The number of tokens of the whole text; a lower bound if it was truncated.
        dense: float32 `(d,)`.
        weights: float32 `(t,)`. One weight per token, without the `<s>` that MCLS inserts. An id
            that occurs several times has several weights.
        sparse: The token ids and the highest weight of each.
        colbert: `(t - 1, c)`; None if it was not requested.
    """

    n_tokens: int
    total_tokens: int
    dense: NDArray[np.float32]
    weights: NDArray[np.float32]
    sparse: tuple[NDArray[np.int32], NDArray[np.float32]]
    colbert: NDArray[np.floating] | None

    @property
    def nbytes(self) -> int:
        """The memory of the arrays, in bytes."""
        arrays = [self.dense, self.weights, *self.sparse]
        return sum(a.nbytes for a in arrays) + (0 if self.colbert is None else self.colbert.nbytes)

    def without_colbert(self) -> TextViews:
        """Return the other views, without a copy."""
        return replace(self, colbert=None)


class Memo:
    """Maps a unit to the views of its texts; used by one thread only, so it has no lock."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.nbytes = 0
        self._views: OrderedDict[Unit, Sequence[TextViews]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._views)

    def get(self, unit: Unit, *, colbert: bool) -> Sequence[TextViews] | None:
        """Return the views of a unit's texts, or None if some of them are not known."""
        views = self._views.get(unit)
        if views is None or (colbert and any(text.colbert is None for text in views)):
            return None
        self._views.move_to_end(unit)
        return views

    def put(self, unit: Unit, views: Sequence[TextViews]) -> None:
        """Store the views of a unit, and drop the least recently used ones until all fit."""
        self._drop(unit)
        self._views[unit] = views
        self.nbytes += _size(unit, views)
        while self.nbytes > self.max_bytes:
            self._drop(next(iter(self._views)))

    def _drop(self, unit: Unit) -> None:
        if (views := self._views.pop(unit, None)) is not None:
            self.nbytes -= _size(unit, views)


def _size(unit: Unit, views: Sequence[TextViews]) -> int:
    # At most 4 bytes per character; 512 bytes for the objects.
    return sum(4 * len(t) + v.nbytes + 512 for t, v in zip(unit.texts, views, strict=True))
