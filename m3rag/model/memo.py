"""What the model said lately: a least-recently-used memo bounded in bytes.

Frameworks ask the dense and the sparse wrapper for the same texts one after the other; the memo
makes the second question free. It counts bytes: one 8192-token ColBERT matrix weighs 32 MB.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Unit(NamedTuple):
    """What is encoded as one: texts that attend to each other, usually a single one.

    Attributes:
        texts: in their order.
        limit: the most tokens of each text.
        mcls: after how many tokens another `<s>` comes; None: there is one at the head only.
    """

    texts: tuple[str, ...]
    limit: int
    mcls: int | None = None


@dataclass(frozen=True, slots=True)
class TextViews:
    """The views of one text, in memory of their own; `colbert` only if it was asked for."""

    n_tokens: int
    total_tokens: int
    dense: NDArray[np.float32]  # (d,)
    weights: NDArray[np.float32]  # (t,) before the highest of each id is taken, without extra <s>
    sparse: tuple[NDArray[np.int32], NDArray[np.float32]]  # ids, weights
    colbert: NDArray[np.floating] | None  # (t - 1, c)

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        parts = [self.dense, self.weights, *self.sparse]
        return sum(p.nbytes for p in parts) + (0 if self.colbert is None else self.colbert.nbytes)

    def without_colbert(self) -> TextViews:
        """The other views, in the same memory."""
        return replace(self, colbert=None)


class Memo:
    """Unit -> the views of its texts. Used by one thread, so it needs no lock."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.nbytes = 0
        self._views: OrderedDict[Unit, Sequence[TextViews]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._views)

    def get(self, unit: Unit, *, colbert: bool) -> Sequence[TextViews] | None:
        """The views of a unit's texts, if they are remembered with all that is asked for."""
        views = self._views.get(unit)
        if views is None or (colbert and any(one.colbert is None for one in views)):
            return None
        self._views.move_to_end(unit)
        return views

    def put(self, unit: Unit, views: Sequence[TextViews]) -> None:
        """Remember, and forget the longest unused until all fits."""
        self._forget(unit)
        self._views[unit] = views
        self.nbytes += _size(unit, views)
        while self.nbytes > self.max_bytes:
            self._forget(next(iter(self._views)))

    def _forget(self, unit: Unit) -> None:
        if (views := self._views.pop(unit, None)) is not None:
            self.nbytes -= _size(unit, views)


def _size(unit: Unit, views: Sequence[TextViews]) -> int:
    # 4: the widest a character gets; 512: the objects
    return sum(4 * len(t) + v.nbytes + 512 for t, v in zip(unit.texts, views, strict=True))
