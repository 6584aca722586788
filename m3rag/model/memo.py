"""What the model said lately: a least-recently-used memo bounded in bytes.

Frameworks ask the dense and the sparse wrapper for the same texts one after the other; the memo
makes the second question free. It counts bytes: one 8192-token ColBERT matrix weighs 32 MB.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TextViews:
    """The views of one text, in memory of their own; `colbert` only if it was asked for."""

    n_tokens: int
    total_tokens: int
    dense: NDArray[np.float32]  # (d,)
    weights: NDArray[np.float32]  # (t,) before the highest of each id is taken
    sparse: tuple[NDArray[np.int32], NDArray[np.float32]]  # ids, weights
    colbert: NDArray[np.floating] | None  # (t - 1, c)

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        parts = [self.dense, self.weights, *self.sparse]
        return sum(p.nbytes for p in parts) + (0 if self.colbert is None else self.colbert.nbytes)


class Memo:
    """(text, limit) -> views. Used by one thread, so it needs no lock."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.nbytes = 0
        self._views: OrderedDict[tuple[str, int], TextViews] = OrderedDict()

    def __len__(self) -> int:
        return len(self._views)

    def get(self, text: str, limit: int, *, colbert: bool) -> TextViews | None:
        """The text's views, if they are remembered with all that is asked for."""
        views = self._views.get((text, limit))
        if views is None or (colbert and views.colbert is None):
            return None
        self._views.move_to_end((text, limit))
        return views

    def put(self, text: str, limit: int, views: TextViews) -> None:
        """Remember, and forget the longest unused until all fits."""
        self._forget((text, limit))
        self._views[text, limit] = views
        self.nbytes += _size(text, views)
        while self.nbytes > self.max_bytes:
            self._forget(next(iter(self._views)))

    def _forget(self, key: tuple[str, int]) -> None:
        if (views := self._views.pop(key, None)) is not None:
            self.nbytes -= _size(key[0], views)


def _size(text: str, views: TextViews) -> int:
    return 4 * len(text) + views.nbytes + 512  # 4: the widest a character gets; 512: the objects
