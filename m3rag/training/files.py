"""Files of lines, packed or not: `.jsonl`, `.jsonl.gz`, `.jsonl.zst`."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from m3rag.errors import InputError
from m3rag.extras import require
from m3rag.packed import opened


def lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, unpacked as its name says.

    Raises:
        InputError: there is no such file, or it is damaged, or not packed as its name says.
        MissingExtraError: it is a `.zst` file, and zstandard is not installed.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    with opened(path, extra="train") as file:
        yield from file


@contextmanager
def written(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to, packed as its name says; it takes its place when all went well.

    Raises:
        MissingExtraError: it is a `.zst` file, and zstandard is not installed.
    """
    new = path.with_name(f"{path.name}.new")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with new.open("wb") as raw, _packed(path, raw) as file:
            yield file
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)


def _packed(path: Path, raw: IO[bytes]) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(raw, "wb"))
    if path.suffix == ".zst":
        require("zstandard", "train")
        import zstandard

        return cast(IO[bytes], zstandard.ZstdCompressor().stream_writer(raw, closefd=False))
    return raw
