"""Messages of JSON and arrays, as an index, its engine and its server exchange them.

8 bytes   length of the header, little-endian
header    UTF-8 JSON: {"body": ..., "arrays": [[dtype, shape], ...]}
arrays    their bytes, one array after the other, in C order
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Message = tuple[dict[str, Any], list[NDArray[Any]]]

PREFIX = 8  # bytes
MEDIA_TYPE = "application/octet-stream"

_DTYPES = ("<f2", "<f4", "<f8", "<i4", "<i8", "|b1", "|u1")
_ARRAYS = 1 << 16  # of a message
_DIMENSIONS = 2


class DamagedMessageError(ValueError):
    """Bytes are no message."""


def parts(body: dict[str, Any], arrays: Sequence[NDArray[Any]] = ()) -> Iterator[memoryview]:
    """Yield a message in parts; those of the arrays are their own memory, without a copy."""
    arrays = [np.ascontiguousarray(array) for array in arrays]
    shapes = [[array.dtype.str, array.shape] for array in arrays]
    header = json.dumps({"body": body, "arrays": shapes}, ensure_ascii=False).encode()
    yield memoryview(len(header).to_bytes(PREFIX, "little") + header)
    for array in arrays:
        yield bytes_of(array)


def bytes_of(array: NDArray[Any]) -> memoryview:
    """Return a contiguous array's own memory as bytes."""
    return array.reshape(-1).view(np.uint8).data


def encode(body: dict[str, Any], arrays: Sequence[NDArray[Any]] = ()) -> bytes:
    """Return a message as bytes."""
    return b"".join(parts(body, arrays))


def decode(data: bytes) -> Message:
    """Return the message in bytes from another process; its arrays are read-only views of them.

    Nothing is allocated but what the bytes themselves take, whatever they claim.

    Raises:
        DamagedMessageError: They are no message, or have arrays of other types than numbers.
    """
    end = PREFIX + int.from_bytes(data[:PREFIX], "little")
    if len(data) < PREFIX or end > len(data):
        raise DamagedMessageError(f"its header ends after byte {end:,} of {len(data):,}")
    try:
        header = json.loads(data[PREFIX:end])
        body, shapes = header["body"], header["arrays"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise DamagedMessageError(f"its header is no JSON object: {str(error)[:200]}") from None
    if not isinstance(body, dict) or not isinstance(shapes, list) or len(shapes) > _ARRAYS:
        raise DamagedMessageError("its header has no body, or no list of arrays")
    arrays: list[NDArray[Any]] = []
    for entry in shapes:
        dtype, shape = _described(entry)
        size = math.prod(shape)
        if end + size * dtype.itemsize > len(data):
            raise DamagedMessageError(f"it ends within array {len(arrays)}")
        arrays.append(np.frombuffer(data, dtype, size, end).reshape(shape))
        end += size * dtype.itemsize
    if end != len(data):
        raise DamagedMessageError(f"{len(data) - end:,} bytes follow its last array")
    return body, arrays


def _described(entry: object) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return the type and the shape of an array."""
    if isinstance(entry, list) and len(entry) == 2 and entry[0] in _DTYPES:
        shape = entry[1]
        sound = isinstance(shape, list) and len(shape) <= _DIMENSIONS
        if sound and all(type(size) is int and 0 <= size < 1 << 40 for size in shape):
            return np.dtype(entry[0]), tuple(shape)
    raise DamagedMessageError(f"it has an array that is {str(entry)[:80]}")
