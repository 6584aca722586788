"""Training data: files of JSON lines. Each line is parsed when it is needed."""

from __future__ import annotations

import hashlib
import json
import mmap
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from m3rag.errors import InputError, StorageError
from m3rag.files import lines
from m3rag.limits import brief
from m3rag.training.example import Example, LanguagePair, parse


class Examples:
    """The examples of training files, in order.

    The lines are unpacked into a temporary file, so memory holds only a few numbers for each.

    Attributes:
        sizes: The `size` of each example, `(n,)`.
        sources: The number of each example's source, `(n,)`. The source is its "source", or else
            its file.
        languages: The number of each example's set of language pairs, `(n,)`.
        language_pairs: These sets, in order.
        scored: How many scored passages a group of each example can have, `(n,)`: one positive and
            the negatives, as far as a teacher scored them.
        digest: A hash of the lines, equal for equal data.
    """

    def __init__(self, paths: Iterable[str | Path]) -> None:
        """Read and check `.jsonl`, `.jsonl.gz` or `.jsonl.zst` files.

        Raises:
            InputError: There are no files or no lines, or a line is not an example.
            StorageError: The temporary folder is full.
            MissingExtraError: A file ends in `.zst` and zstandard is not installed.
        """
        files = list(map(Path, paths))
        ends, sizes, sources, scored, languages = [0], [], [], [], []
        names: dict[str, int] = {}
        pairs: dict[frozenset[LanguagePair], int] = {}
        digest = hashlib.sha256()
        with _temporary() as unpacked:
            for path, line, example in _examples(files):
                digest.update(line)
                ends.append(ends[-1] + unpacked.write(line))
                sizes.append(example.size)
                scored.append(len(example.positive_scores[:1] + example.negative_scores))
                sources.append(names.setdefault(example.source or path.name, len(names)))
                languages.append(pairs.setdefault(example.languages(), len(pairs)))
            if not sizes:
                where = ", ".join(map(str, files)) or "an empty list of files"
                raise InputError(f"There are no training examples in {where}.")
            unpacked.flush()
            # Only the mapping keeps the unnamed file alive after this block.
            self._lines = mmap.mmap(unpacked.fileno(), 0, access=mmap.ACCESS_READ)
        self._ends = np.array(ends)
        self.sizes: NDArray[np.int64] = np.array(sizes)
        self.sources: NDArray[np.int64] = np.array(sources)
        self.scored: NDArray[np.int64] = np.array(scored)
        self.languages: NDArray[np.int64] = np.array(languages)
        self.language_pairs = list(pairs)
        self.digest = digest.hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, i: int) -> Example:
        return parse(self._line(i))

    def row(self, i: int) -> dict[str, Any]:
        """Return a line without its scores, which would not fit other negatives."""
        row: dict[str, Any] = json.loads(self._line(i))
        return {name: row[name] for name in row if name not in ("pos_scores", "neg_scores")}

    def _line(self, i: int) -> bytes:
        return self._lines[self._ends[i] : self._ends[i + 1]]

    def __iter__(self) -> Iterator[Example]:
        return (self[i] for i in range(len(self)))


@contextmanager
def _temporary() -> Iterator[IO[bytes]]:
    """Open a temporary file.

    Raises:
        StorageError: It cannot be written, for example because the disk is full.
    """
    try:
        with tempfile.TemporaryFile() as file:
            yield file
    except OSError as error:
        raise StorageError(
            f"The training data cannot be unpacked into the temporary folder ({brief(error)}). "
            "Free some space there, or set TMPDIR to a folder on another disk."
        ) from error


def _examples(files: Iterable[Path]) -> Iterator[tuple[Path, bytes, Example]]:
    for path in files:
        for number, line in enumerate(lines(path), start=1):
            if not line.strip():
                continue
            try:
                yield path, line, parse(line)
            except InputError as error:
                raise InputError(f"{path}, line {number}: {error}") from None
