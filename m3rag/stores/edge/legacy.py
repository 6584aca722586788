"""Upgrade an index of format 1, whose passages and vectors are in the engine's files only."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3rag.encoding import MultiVectors, SparseVectors
from m3rag.errors import M3Error, StorageError
from m3rag.files import flush_folder
from m3rag.stores.base import Points
from m3rag.stores.edge import schema
from m3rag.stores.edge.client import EngineProcess
from m3rag.stores.edge.database import Database
from m3rag.stores.edge.rows import passage_of

_PAGE = 64  # passages that are read at a time
_NEW = "passages.db.upgrade"

_log = logging.getLogger("m3rag")


def upgrade(folder: Path, widths: tuple[int, int | None]) -> int:
    """Write the database of an index of format 1, and return the number of its passages.

    The old files stay until the database is complete; an interrupted upgrade starts again.

    Raises:
        StorageError: The old files cannot be read, or the new one cannot be written.
    """
    _log.info("%s: upgrading the index to format 2", folder)
    schema.remove(folder / _NEW)
    schema.create(folder, widths, name=_NEW)
    new = Database(folder, widths, name=_NEW)
    try:
        for points in _points(folder / "edge", colbert=widths[1] is not None):
            new.add(points, durable=False)
        count = new.state().passages
        new.flush()
    except M3Error as error:
        raise StorageError(
            f"{folder} has format 1 and cannot be upgraded: {error} The old files are unchanged. "
            "Index the documents into a new folder if this does not help."
        ) from error
    finally:
        new.close()
    os.replace(folder / _NEW, folder / schema.NAME)
    flush_folder(folder)
    return count


def _points(edge: Path, *, colbert: bool) -> Iterator[Points]:
    request = {"op": "export", "folder": str(edge), "limit": _PAGE, "colbert": colbert}
    process = EngineProcess({**request, "after": None})
    try:
        answer, arrays = process.opened
        while True:
            if answer["passages"]:
                yield _as_points(answer["passages"], arrays)
            if answer["after"] is None:
                return
            answer, arrays = process.call({**request, "after": answer["after"]})
    finally:
        process.close()


def _as_points(passages: list[str], arrays: list[NDArray[Any]]) -> Points:
    return Points(
        [passage_of(content) for content in passages],
        arrays[0],
        SparseVectors(*arrays[1:4]),
        SparseVectors(*arrays[4:7]),
        MultiVectors(*arrays[7:9]) if len(arrays) > 7 else None,
    )


def export(
    folder: str, after: str | None, limit: int, *, colbert: bool
) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """Return a page of the points of an old index. Called in the engine process only."""
    import qdrant_edge as qe

    if folder not in _SHARDS:
        _SHARDS[folder] = qe.EdgeShard.load(folder)
    request = qe.ScrollRequest(
        offset=after, limit=limit, filter=None, with_payload=["passage"], with_vector=True
    )
    found, following = _SHARDS[folder].scroll(request)
    arrays: list[NDArray[Any]] = [np.array([r.vector["dense"] for r in found], np.float32)]
    for channel in ("sparse", "bm25"):
        arrays += _csr([r.vector.get(channel) for r in found])
    if colbert:
        rows = [np.array(r.vector["colbert"], np.float32) for r in found]
        stacked = MultiVectors.from_rows(rows or [np.empty((0, 1), np.float32)])
        arrays += [stacked.offsets, stacked.vectors]
    passages = [r.payload["passage"] for r in found]
    return {"passages": passages, "after": None if following is None else str(following)}, arrays


_SHARDS: dict[str, Any] = {}


def _csr(vectors: list[Any]) -> list[NDArray[Any]]:
    weights = [dict(zip(v.indices, v.values, strict=True)) if v else {} for v in vectors]
    stacked = SparseVectors.from_dicts(weights)
    return [stacked.indptr, stacked.indices, stacked.values]
