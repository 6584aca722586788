"""Files that may be packed: `.gz`, `.zst`."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from m3rag.errors import InputError
from m3rag.extras import require


@contextmanager
def opened(path: Path, *, extra: str) -> Iterator[IO[bytes]]:
    """A file for reading, unpacked as its name says.

    What is read as UTF-8 inside the `with` and is none, is damage, too.

    Args:
        path: the file.
        extra: what brings the library for `.zst`.

    Raises:
        InputError: the file is damaged, or not packed as its name says.
        MissingExtraError: it is a `.zst` file, and zstandard is not installed.
    """
    damage: tuple[type[Exception], ...] = (OSError, EOFError, UnicodeDecodeError, zlib.error)
    if path.suffix == ".zst":
        require("zstandard", extra)
        import zstandard

        damage += (zstandard.ZstdError,)
    try:
        with path.open("rb") as raw, _unpacked(path, raw) as file:
            yield file
    except damage as error:
        raise InputError(f"{path} cannot be read: {type(error).__name__}: {error}.") from error


def _unpacked(path: Path, raw: IO[bytes]) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(raw))
    if path.suffix == ".zst":
        import zstandard

        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(raw))
    return raw
