"""The store in a folder: qdrant-edge in a process of its own; see `m3rag.stores.edge.client`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from m3rag.documents import Passage, passage_from_dict, passage_to_dict
from m3rag.errors import StorageError
from m3rag.stores.base import Candidates, Floats, Points, QueryPlan
from m3rag.stores.edge.client import EngineProcess
from m3rag.stores.filters import Filter, filter_to_dict

QUANTIZE_FROM = 10_000  # passages; below, an exact scan of 1024 dimensions takes a few ms
_MESSAGE_BYTES = 2 << 20  # size of a message of an add; a search waits for one, about 50 ms
_RESERVE_BYTES = 96 << 20  # kept free on the disk: the engine dies if it cannot write at all
_GROWTH = 4  # bytes on the disk per byte sent: log, stored vectors and a merge


class EdgeStore:
    """Points in a folder, stored and scored by the engine process.

    Args:
        folder: An existing folder that only this store uses.
        dim: The width of the dense vectors.
        colbert_dim: The width of the ColBERT vectors; None if they are not stored.
        quantize_from: The number of passages from which `optimize` quantizes the dense vectors.
    """

    def __init__(
        self,
        folder: Path,
        *,
        dim: int,
        colbert_dim: int | None,
        quantize_from: int = QUANTIZE_FROM,
    ) -> None:
        self._folder = folder
        self._quantize_from = quantize_from
        settings = {"dim": dim, "colbert_dim": colbert_dim, "owner": os.getpid()}
        self._check_disk(0)
        self.process = EngineProcess(folder, settings)

    def add(self, points: Points) -> None:
        """Store points; a point replaces an older one with the same id."""
        for part in _messages(points):
            self._check_disk(_size(part))
            payloads = [_payload(passage) for passage in part.passages]
            self.process.call("add", {"payloads": payloads}, _arrays(part))

    def delete(self, ids: Sequence[str]) -> int:
        """Delete the passages that exist, and return their number."""
        return int(self.process.call("delete", {"ids": list(ids)})[0]["count"])

    def delete_where(self, where: Filter) -> int:
        """Delete the passages that match, and return their number."""
        return int(self.process.call("delete_where", {"where": filter_to_dict(where)})[0]["count"])

    def get(self, ids: Sequence[str]) -> list[Passage | None]:
        """Return the passages in the order of `ids`; None for an id that does not exist."""
        found = self.process.call("get", {"ids": list(ids)})[0]["passages"]
        return [None if text is None else _passage(text) for text in found]

    def term_weights(self, ids: Sequence[str]) -> list[dict[int, float]]:
        """Return the sparse vectors in the order of `ids`; empty for an id that does not exist."""
        rows = self.process.call("term_weights", {"ids": list(ids)})[0]["weights"]
        return [dict(zip(*row, strict=True)) for row in rows]

    def dense_vectors(self, ids: Sequence[str]) -> list[Floats | None]:
        """Return the dense vectors `(d,)` in the order of `ids`; None for an unknown id."""
        answer, vectors = self.process.call("dense_vectors", {"ids": list(ids)})
        found = iter(vectors)
        return [next(found) if there else None for there in answer["there"]]

    def count(self, where: Filter | None = None) -> int:
        """Return the number of passages, or of those that match."""
        return int(self.process.call("count", {"where": _dict(where)})[0]["count"])

    def scan(
        self, where: Filter | None, after: str | None, limit: int
    ) -> tuple[list[Passage], str | None]:
        """Return a page of the passages that match, in the order of the engine's ids."""
        request = {"where": _dict(where), "after": after, "limit": limit}
        answer = self.process.call("scan", request)[0]
        return [_passage(text) for text in answer["passages"]], answer["after"]

    def search(self, plans: Sequence[QueryPlan]) -> list[Candidates]:
        """Return the candidates of each plan."""
        arrays: list[NDArray[Any]] = []
        requests = [_request(plan, arrays) for plan in plans]
        answer, scores = self.process.call("search", {"plans": requests}, arrays)
        return [
            Candidates(ids, dict(zip(plan.score, columns, strict=True)))
            for plan, ids, columns in zip(plans, answer["ids"], scores, strict=True)
        ]

    def optimize(self) -> None:
        """Merge segments, drop deleted points, quantize large indexes; searches wait for it."""
        self._check_disk(0)
        self.process.call("optimize", {"quantize_from": self._quantize_from})

    def close(self) -> None:
        """Flush, release the files and end the process; a second call does nothing."""
        self.process.close()

    def _check_disk(self, n_bytes: int) -> None:
        """Refuse early: the engine maps its files, and a full disk would kill it.

        Raises:
            StorageError: There is too little free space to write `n_bytes` safely.
        """
        needed = _RESERVE_BYTES + _GROWTH * n_bytes
        free = shutil.disk_usage(self._folder).free
        if free < needed:
            raise StorageError(
                f"The disk of {self._folder} has {free >> 20} MB free, and {needed >> 20} MB are "
                "needed to write safely. Free some space and try again. Everything added before "
                "is kept and can be searched."
            )


def _messages(points: Points) -> list[Points]:
    """Split points into parts of about `_MESSAGE_BYTES`, so that searches can run in between."""
    mean_size = _size(points) // max(1, len(points)) + 1
    step = max(1, _MESSAGE_BYTES // mean_size)
    return [points[start : start + step] for start in range(0, len(points), step)]


def _size(points: Points) -> int:
    """Return the approximate size of points in bytes."""
    texts = sum(len(passage.text) for passage in points.passages)
    return texts + sum(array.nbytes for array in _arrays(points))


def _payload(passage: Passage) -> dict[str, Any]:
    """Return the fields for filters, and the passage as text: the engine's floats lose a digit."""
    return {
        "id": passage.id,
        "document_id": passage.document_id,
        "metadata": dict(passage.metadata),
        "passage": json.dumps(passage_to_dict(passage), ensure_ascii=False),
    }


def _passage(text: str) -> Passage:
    return passage_from_dict(json.loads(text))


def _arrays(points: Points) -> list[NDArray[Any]]:
    """Return the arrays of a message, in the order in which `convert.points` reads them."""
    sparse, bm25, colbert = points.sparse, points.bm25, points.colbert
    arrays: list[NDArray[Any]] = [points.dense]
    arrays += [sparse.indptr, sparse.indices, sparse.values]
    arrays += [bm25.indptr, bm25.indices, bm25.values]
    return arrays if colbert is None else [*arrays, colbert.offsets, colbert.vectors]


def _request(plan: QueryPlan, arrays: list[NDArray[Any]]) -> dict[str, Any]:
    """Return the plan as JSON values, and append its vectors to `arrays`."""
    positions = {}
    for channel in ("dense", "colbert"):
        vectors = getattr(plan, channel)
        if vectors is not None:
            positions[channel] = len(arrays)
            arrays.append(vectors)
    sparse: dict[str, Mapping[int, float] | None] = {"sparse": plan.sparse, "bm25": plan.bm25}
    return {
        "retrieve": plan.retrieve,
        "score": plan.score,
        "candidates": plan.candidates,
        "where": _dict(plan.where),
        "arrays": positions,
        "weights": {channel: w for channel, w in sparse.items() if w is not None},
    }


def _dict(where: Filter | None) -> dict[str, Any] | None:
    return None if where is None else filter_to_dict(where)
