"""An open qdrant-edge shard and its operations. Loaded by the engine process only."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as qe
from numpy.typing import NDArray

from m3rag.stores.edge import convert, lock
from m3rag.stores.edge.convert import EngineError
from m3rag.stores.edge.wire import Message
from m3rag.stores.filters import Filter, parse_filter

_FLUSH_BYTES = 64 << 20  # limits the log to replay after a crash: a second or two
# A quantized dense search scores at least _RESCORED of its best passages exactly, and at least
# _OVERSAMPLING times the number of candidates.
_RESCORED = 512
_OVERSAMPLING = 10.0


class Shard:
    """An open shard; the method `op_<name>(body, arrays)` answers the requests of that name.

    A body holds JSON values.
    """

    def __init__(self, folder: Path, shard: Any, widths: tuple[int, int | None]) -> None:
        self._folder = folder
        self._shard = shard
        self._widths = widths
        self._unflushed = 0

    @classmethod
    def open(cls, folder: str, dim: int, colbert_dim: int | None, owner: int) -> Shard:
        """Open the shard in `folder`, or create it.

        Raises:
            EngineError: "in_use" if it is open already; the message names the process that has it
                open. "storage" if its files cannot be read.
        """
        home = Path(folder)
        lock.acquire(home, owner)
        try:
            if not (home / "edge").exists():
                _create(home, convert.config(dim, colbert_dim))
            shard = qe.EdgeShard.load(str(home / "edge"))
        except Exception as error:
            raise EngineError("storage", f"cannot open the index: {error}", fatal=True) from error
        return cls(home, shard, (dim, colbert_dim))

    def answer(self, op: str, body: dict[str, Any], arrays: list[NDArray[Any]]) -> Message:
        """Run an operation and return its answer.

        Raises:
            EngineError: "storage" if the engine fails.
        """
        method: Callable[..., Message] = getattr(self, f"op_{op}")
        try:
            return method(body, arrays)
        except Exception as error:
            if type(error) is not Exception:  # the engine's own errors have no other class
                raise
            writing = op in ("add", "delete", "delete_where", "optimize")
            raise EngineError(
                "storage", f"the engine cannot {op}: {error}", fatal=writing
            ) from error

    def close(self) -> None:
        """Flush and release the files."""
        self._shard.flush()
        self._shard.close()

    def op_add(self, body: dict[str, Any], arrays: list[NDArray[Any]]) -> Message:
        """Insert or replace points."""
        points = list(convert.points(body["payloads"], arrays))
        self._shard.update(qe.UpdateOperation.upsert_points(points))
        self._unflushed += sum(array.nbytes for array in arrays)
        if self._unflushed > _FLUSH_BYTES:
            self._shard.flush()
            self._unflushed = 0
        return {}, []

    def op_delete(self, body: dict[str, Any], _: list[NDArray[Any]]) -> Message:
        """Delete points by passage id, and return how many existed."""
        ids = {convert.point_id(i) for i in body["ids"]}
        found = self._count(convert.only(ids))
        self._shard.update(qe.UpdateOperation.delete_points(list(ids)))
        return {"count": found}, []

    def op_delete_where(self, body: dict[str, Any], _: list[NDArray[Any]]) -> Message:
        """Delete the points that match, and return their number."""
        where = convert.engine_filter(parse_filter(body["where"]))
        found = self._count(where)
        self._shard.update(qe.UpdateOperation.delete_points_by_filter(where))
        return {"count": found}, []

    def op_get(self, body: dict[str, Any], _: list[NDArray[Any]]) -> Message:
        """Return passages by id."""
        ids = [convert.point_id(i) for i in body["ids"]]
        records = self._shard.retrieve(ids, ["passage"], False)
        found = {str(r.id): r.payload["passage"] for r in records}
        return {"passages": [found.get(i) for i in ids]}, []

    def op_term_weights(self, body: dict[str, Any], _: list[NDArray[Any]]) -> Message:
        """Return sparse vectors by passage id."""
        ids = [convert.point_id(i) for i in body["ids"]]
        found = {
            str(r.id): (r.vector or {}).get("sparse")
            for r in self._shard.retrieve(ids, False, ["sparse"])
        }
        rows = [([], []) if (v := found.get(i)) is None else (v.indices, v.values) for i in ids]
        return {"weights": rows}, []

    def op_dense_vectors(self, body: dict[str, Any], _: list[NDArray[Any]]) -> Message:
        """Return which of the passage ids exist, and the dense vector of each of those."""
        ids = [convert.point_id(i) for i in body["ids"]]
        records = self._shard.retrieve(ids, False, ["dense"])
        found = {str(r.id): np.array(r.vector["dense"], np.float32) for r in records}
        return {"there": [i in found for i in ids]}, [found[i] for i in ids if i in found]

    def op_count(self, body: dict[str, Any], _: list[NDArray[Any]]) -> Message:
        """Return the number of points, or of those that match."""
        return {"count": self._count(convert.engine_filter(parse_filter(body["where"])))}, []

    def op_scan(self, body: dict[str, Any], _: list[NDArray[Any]]) -> Message:
        """Return a page of passages, in the order of the engine's ids."""
        found, after = self._shard.scroll(
            qe.ScrollRequest(
                offset=body["after"],
                limit=body["limit"],
                filter=convert.engine_filter(parse_filter(body["where"])),
                with_payload=["passage"],
                with_vector=False,
            )
        )
        passages = [record.payload["passage"] for record in found]
        return {"passages": passages, "after": None if after is None else str(after)}, []

    def op_search(self, body: dict[str, Any], arrays: list[NDArray[Any]]) -> Message:
        """Return the candidates of each plan, and their scores: one array per plan, by channel."""
        all_scores: list[NDArray[Any]] = []
        all_ids = []
        for plan in body["plans"]:
            queries = {c: convert.floats(arrays[at]) for c, at in plan["arrays"].items()}
            queries |= {c: convert.sparse_vector(w) for c, w in plan["weights"].items()}
            ids, scores = self._candidates(plan, queries)
            all_ids.append(ids)
            all_scores.append(scores)
        return {"ids": all_ids}, all_scores

    def op_optimize(self, body: dict[str, Any], _: list[NDArray[Any]]) -> Message:
        """Merge segments, drop deleted points, and quantize dense vectors from a size on."""
        self._shard.flush()
        if body["quantize_from"] <= self._count(None):
            self._shard.close()
            config = convert.config(*self._widths, quantized=True)
            self._shard = qe.EdgeShard.load(str(self._folder / "edge"), config)
        self._shard.optimize()
        self._shard.flush()
        return {}, []

    def _candidates(
        self, plan: dict[str, Any], queries: dict[str, Any]
    ) -> tuple[list[str], NDArray[np.float32]]:
        """Return the passage ids of a plan's candidates, and their scores `(channels, n)`."""
        where: Filter | None = parse_filter(plan["where"])
        known: dict[str, dict[str, float]] = {channel: {} for channel in plan["score"]}
        union: dict[str, None] = {}
        for channel in plan["retrieve"]:
            found = self._query(
                channel, queries[channel], plan["candidates"], convert.engine_filter(where)
            )
            known[channel] = found
            union |= dict.fromkeys(found)
        for channel in plan["score"]:
            rest = union.keys() - known[channel].keys()
            if rest:  # retrieved by other channels; without a shared token the score is 0
                only_rest = convert.only(rest)
                known[channel] |= self._query(channel, queries[channel], len(rest), only_rest)
        ids = {str(r.id): r.payload["id"] for r in self._shard.retrieve(list(union), ["id"], False)}
        scores = np.array([[_score(known, c, i) for i in union] for c in plan["score"]], np.float32)
        return [ids[i] for i in union], scores

    def _query(self, channel: str, query: Any, limit: int, where: Any) -> dict[str, float]:
        """Return the scores of the best `limit` points that match `where`, by engine id."""
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
        length = len(query) if channel == "colbert" else 1  # the engine sums, we average
        return {str(hit.id): hit.score / length for hit in found}

    def _count(self, where: Any) -> int:
        return int(self._shard.count(qe.CountRequest(exact=True, filter=where)))


def _score(known: dict[str, dict[str, float]], channel: str, point: str) -> float:
    return (
        known[channel].get(point, 0.0) if channel in ("sparse", "bm25") else known[channel][point]
    )


def _create(home: Path, config: Any) -> None:
    """Create the shard under another name and rename it, so that it is never incomplete."""
    new = home / "edge.new"
    shutil.rmtree(new, ignore_errors=True)  # an earlier attempt may have been killed
    shard = qe.EdgeShard.create(str(new), config)
    shard.update(qe.UpdateOperation.create_field_index("document_id", qe.PayloadSchemaType.Keyword))
    shard.close()
    new.rename(home / "edge")
