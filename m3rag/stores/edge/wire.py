"""Messages between the index and its engine process, over a pipe; see `m3rag.http.messages`.

Array bytes go from the array to the pipe and from the pipe into an array, without a copy.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3rag.http.messages import PREFIX, Message, bytes_of, parts

__all__ = ["Message", "receive", "send"]


def send(pipe: io.FileIO, body: dict[str, Any], arrays: Sequence[NDArray[Any]] = ()) -> None:
    """Write one message.

    Raises:
        OSError: The other side has closed the pipe.
    """
    for data in parts(body, arrays):
        _write(pipe, data)


def receive(pipe: io.FileIO) -> Message:
    """Read one message.

    Raises:
        EOFError: The other side has closed the pipe.
    """
    prefix = bytearray(PREFIX)
    _read(pipe, memoryview(prefix))
    text = bytearray(int.from_bytes(prefix, "little"))
    _read(pipe, memoryview(text))
    header = json.loads(text)
    arrays = []
    for dtype, shape in header["arrays"]:
        array = np.empty(shape, np.dtype(dtype))
        _read(pipe, bytes_of(array))
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
