"""An open qdrant-edge shard and its operations. Loaded by the engine process only."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as qe
from numpy.typing import NDArray

from m3rag.stores.edge import convert
from m3rag.stores.edge.wire import Message
from m3rag.stores.filters import CHECKED, parse_filter

_FLUSH_BYTES = 64 << 20  # limits the log to replay after a crash: a second or two
# A quantized dense search scores at least _RESCORED of its best passages exactly, and at least
# _OVERSAMPLING times the number of candidates.
_RESCORED = 512
_OVERSAMPLING = 10.0


class Shard:
    """An open shard; the method `op_<name>(body, arrays)` answers the requests of that name.

    A body holds JSON values. The id of a point is the key of its passage.
    """

    def __init__(self, folder: Path, shard: Any, dim: int) -> None:
        self._folder = folder
        self._shard = shard
        self._dim = dim
        self._unflushed = 0

    @classmethod
    def open(cls, folder: str, dim: int) -> Shard:
        """Open the shard in `folder`, or create it if the folder does not exist."""
        home = Path(folder)
        if home.exists():
            return cls(home, qe.EdgeShard.load(folder), dim)
        shard = qe.EdgeShard.create(folder, convert.config(dim))
        keyword = qe.PayloadSchemaType.Keyword
        shard.update(qe.UpdateOperation.create_field_index("document_id", keyword))
        return cls(home, shard, dim)

    def answer(self, op: str, body: dict[str, Any], arrays: list[NDArray[Any]]) -> Message:
        """Run an operation and return its answer."""
        method: Callable[..., Message] = getattr(self, f"op_{op}")
        return method(body, arrays)

    def close(self) -> None:
        """Flush and release the files."""
        self._shard.flush()
        self._shard.close()

    def op_add(self, body: dict[str, Any], arrays: list[NDArray[Any]]) -> Message:
        """Insert points."""
        points = list(convert.points(body["fields"], arrays))
        self._shard.update(qe.UpdateOperation.upsert_points(points))
        self._unflushed += sum(array.nbytes for array in arrays)
        if self._unflushed > _FLUSH_BYTES:
            self._shard.flush()
            self._unflushed = 0
        return {}, []

    def op_delete(self, body: dict[str, Any], _: list[NDArray[Any]]) -> Message:
        """Delete points."""
        self._shard.update(qe.UpdateOperation.delete_points(body["keys"]))
        return {}, []

    def op_search(self, body: dict[str, Any], arrays: list[NDArray[Any]]) -> Message:
        """Return the keys of the candidates of each plan, and their scores `(channels, n)`."""
        answers: list[NDArray[Any]] = []
        for plan in body["plans"]:
            queries = {c: convert.floats(arrays[at]) for c, at in plan["arrays"].items()}
            queries |= {c: convert.sparse_vector(w) for c, w in plan["weights"].items()}
            answers += self._candidates(plan, queries)
        return {}, answers

    def op_optimize(self, body: dict[str, Any], _: list[NDArray[Any]]) -> Message:
        """Merge segments, drop deleted points, and quantize dense vectors from a size on."""
        self._shard.flush()
        if body["quantize_from"] <= self._count(None):
            self._shard.close()
            config = convert.config(self._dim, quantized=True)
            self._shard = qe.EdgeShard.load(str(self._folder), config)
        self._shard.optimize()
        self._shard.flush()
        return {}, []

    def _candidates(
        self, plan: dict[str, Any], queries: dict[str, Any]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the keys of a plan's candidates, and their scores `(channels, n)`."""
        where = convert.engine_filter(parse_filter(plan["where"], CHECKED))
        known: dict[str, dict[int, float]] = {channel: {} for channel in plan["score"]}
        union: dict[int, None] = dict.fromkeys(plan["keys"])
        for channel in plan["retrieve"]:
            found = self._query(channel, queries[channel], plan["candidates"], where)
            known[channel] = found
            union |= dict.fromkeys(found)
        for channel in plan["score"]:
            rest = union.keys() - known[channel].keys()
            if rest:  # retrieved by other channels; without a shared token the score is 0
                only_rest = convert.only(rest)
                known[channel] |= self._query(channel, queries[channel], len(rest), only_rest)
        scores = [[_score(known, c, key) for key in union] for c in plan["score"]]
        return np.array(list(union), np.int64), np.array(scores, np.float32)

    def _query(self, channel: str, query: Any, limit: int, where: Any) -> dict[int, float]:
        """Return the scores of the best `limit` points that match `where`, by key."""
        params = None
        if channel == "bm25":  # idf over the current points, without those deleted from a segment
            params = qe.SearchParams(idf=qe.IdfParams(convert.EVERYTHING))
        elif channel == "dense":
            oversampling = max(_OVERSAMPLING, _RESCORED / limit)
            rescoring = qe.QuantizationSearchParams(rescore=True, oversampling=oversampling)
            params = qe.SearchParams(quantization=rescoring)
        found = self._shard.query(
            qe.QueryRequest(
                limit=limit,
                query=qe.Query.Nearest(query, using=channel),
                filter=where,
                params=params,
                with_payload=False,
                with_vector=False,
            )
        )
        return {hit.id: hit.score for hit in found}

    def _count(self, where: Any) -> int:
        return int(self._shard.count(qe.CountRequest(exact=True, filter=where)))


def _score(known: dict[str, dict[int, float]], channel: str, key: int) -> float:
    """Return a score; NaN for a point that the engine does not have."""
    missing = math.nan if channel == "dense" else 0.0
    return known[channel].get(key, missing)
