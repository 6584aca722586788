"""The arrays of a message from another process, checked one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3rag.errors import InputError

Array = NDArray[Any]

_LARGEST = 1e15  # of a vector's numbers; float32 sums of the squares of larger ones overflow


class Received:
    """The arrays of a message.

    Args:
        arrays: The arrays, in the order in which they are taken.
    """

    def __init__(self, arrays: Sequence[Array]) -> None:
        self._left = iter(arrays)

    def next(self, what: str, kinds: str, *, width: int | None = None, axes: int = 1) -> Array:
        """Return the next array.

        Args:
            what: What it has, for errors.
            kinds: Its possible types, such as "f4" or "f2 f4".
            width: The length of its last axis, if that is known.
            axes: The number of its axes.

        Raises:
            InputError: There is none, or it is another one.
        """
        array = next(self._left, None)
        if array is None or array.dtype.str[1:] not in kinds.split() or array.ndim != axes:
            raise InputError(f"The message has no array of {what}, of the type {kinds}.")
        if width is not None and array.shape[-1] != width:
            raise InputError(f"The {what} have the width {array.shape[-1]:,}, and not {width:,}.")
        if array.dtype.kind == "f" and not float(np.abs(array).max(initial=0)) <= _LARGEST:
            raise InputError(f"The {what} have numbers that are not finite, or above {_LARGEST:g}.")
        return array

    def offsets(self, what: str, n: int, *, least: int = 0) -> Array:
        """Return the next array, which says where each of n parts begins, and where the last ends.

        Args:
            what: What the parts are, for errors.
            n: The number of parts.
            least: The smallest size of a part.

        Raises:
            InputError: There is none, or it is another one.
        """
        offsets = self.next(f"offsets of {what}", "i8", width=n + 1)
        if offsets[0] != 0 or (np.diff(offsets) < least).any():
            raise InputError(f"The offsets of {what} do not rise from 0 by at least {least}.")
        return offsets
