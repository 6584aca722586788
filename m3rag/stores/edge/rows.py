"""Rows of the database: passages and their vectors as columns, with a checksum per row."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from m3rag.documents import Passage, passage_from_dict, passage_to_dict
from m3rag.encoding import SparseVectors
from m3rag.stores.base import Floats, Points
from m3rag.stores.edge import colbert

COLUMNS = "key, id, document_id, content, dense, sparse, bm25"
"""The columns of the table `passage`, in the order of `Row`."""
SparseRow = tuple[NDArray[np.int32], Floats]
"""The token ids and weights of one text."""


class Row(NamedTuple):
    """A row of the table `passage`, with the ColBERT vectors of the table `colbert`.

    Attributes:
        key: The engine's id of this version of the passage; never used again.
        id: The passage id.
        document_id: The document id, if any.
        content: The passage as JSON.
        dense: The dense vector, float32.
        sparse: The model's term weights: the token ids (int32), then the weights (float32).
        bm25: The saturated term frequencies, in the same form.
        colbert: The ColBERT vectors; None if the index does not store them.
    """

    key: int
    id: str
    document_id: str | None
    content: str
    dense: bytes
    sparse: bytes
    bm25: bytes
    colbert: bytes | None

    @property
    def checksum(self) -> int:
        """The CRC-32 of everything but the ColBERT vectors."""
        head = f"{self.key}\0{self.id}\0{self.document_id}\0{self.content}".encode()
        crc = zlib.crc32(head)
        for part in (self.dense, self.sparse, self.bm25):
            crc = zlib.crc32(part, zlib.crc32(len(part).to_bytes(8, "little"), crc))
        return crc

    @property
    def colbert_checksum(self) -> int:
        """The CRC-32 of the key and the ColBERT vectors; 0 without them."""
        if self.colbert is None:
            return 0
        return zlib.crc32(self.colbert, zlib.crc32(self.key.to_bytes(8, "little")))

    def renewed(self, passage: Passage, key: int) -> Row:
        """Return the row with another passage, a new key and the same vectors."""
        return self._replace(
            key=key,
            id=passage.id,
            document_id=passage.document_id,
            content=content_of(passage),
        )

    @property
    def passage(self) -> Passage:
        """The passage."""
        return passage_of(self.content)


def rows_of(points: Points, first_key: int) -> Iterator[Row]:
    """Yield a row for each point, with ascending keys."""
    for i, passage in enumerate(points.passages):
        yield Row(
            key=first_key + i,
            id=passage.id,
            document_id=passage.document_id,
            content=content_of(passage),
            dense=np.asarray(points.dense[i], "<f4").tobytes(),
            sparse=_sparse_blob(points.sparse.rows(i)),
            bm25=_sparse_blob(points.bm25.rows(i)),
            colbert=None if points.colbert is None else colbert.encode(points.colbert[i]),
        )


def content_of(passage: Passage) -> str:
    """Return a passage as the column `content`."""
    return json.dumps(passage_to_dict(passage), ensure_ascii=False)


def passage_of(content: str) -> Passage:
    """Return the passage of a column `content`."""
    return passage_from_dict(json.loads(content))


def dense_of(blob: bytes) -> Floats:
    """Return the dense vector of a blob."""
    return np.frombuffer(blob, "<f4").astype(np.float32)


def sparse_of(blob: bytes) -> SparseRow:
    """Return the token ids and weights of a blob."""
    n = len(blob) // 8
    return np.frombuffer(blob, "<i4", n), np.frombuffer(blob, "<f4", n, 4 * n)


def weights_of(blob: bytes) -> dict[int, float]:
    """Return the weights of a blob by token id."""
    return SparseVectors.from_rows([sparse_of(blob)])[0]


def _sparse_blob(row: SparseRow) -> bytes:
    indices, values = row
    return np.asarray(indices, "<i4").tobytes() + np.asarray(values, "<f4").tobytes()
