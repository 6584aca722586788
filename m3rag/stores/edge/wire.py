"""Messages between the index and its engine process: JSON and arrays, over a pipe.

    8 bytes   length of the header, little-endian
    header    UTF-8 JSON: {"body": ..., "arrays": [[dtype, shape], ...]}
    arrays    their bytes, one array after the other, in C order

Array bytes go from the array to the pipe and from the pipe into an array, without a copy.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Message = tuple[dict[str, Any], list[NDArray[Any]]]


def send(pipe: io.FileIO, body: dict[str, Any], arrays: Sequence[NDArray[Any]] = ()) -> None:
    """Write one message.

    Raises:
        OSError: The other side has closed the pipe.
    """
    arrays = [np.ascontiguousarray(array) for array in arrays]
    shapes = [[array.dtype.str, array.shape] for array in arrays]
    header = json.dumps({"body": body, "arrays": shapes}, ensure_ascii=False).encode()
    _write(pipe, memoryview(len(header).to_bytes(8, "little") + header))
    for array in arrays:
        _write(pipe, _bytes(array))


def receive(pipe: io.FileIO) -> Message:
    """Read one message.

    Raises:
        EOFError: The other side has closed the pipe.
    """
    prefix = bytearray(8)
    _read(pipe, memoryview(prefix))
    text = bytearray(int.from_bytes(prefix, "little"))
    _read(pipe, memoryview(text))
    header = json.loads(text)
    arrays = []
    for dtype, shape in header["arrays"]:
        array = np.empty(shape, np.dtype(dtype))
        _read(pipe, _bytes(array))
        arrays.append(array)
    return header["body"], arrays


def _write(pipe: io.FileIO, data: memoryview) -> None:
    while data:
        data = data[pipe.write(data) :]


def _read(pipe: io.FileIO, into: memoryview) -> None:
    while into:
        n = pipe.readinto(into)
        if not n:
            raise EOFError("The other side has closed the pipe.")
        into = into[n:]


def _bytes(array: NDArray[Any]) -> memoryview:
    """Return the array's own memory as bytes."""
    return array.reshape(-1).view(np.uint8).data
