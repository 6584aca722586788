"""One open qdrant-edge shard: the requests it answers. Loaded only by the engine process."""

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

_FLUSH_BYTES = 64 << 20  # the log to replay after a crash stays below this: a second or two
_RESCORED = 512  # quantised dense search scores at least so many of its best exactly,
_OVERSAMPLING = 10.0  # and so many times the candidates that are wanted


class Shard:
    """Answers requests: each a method `op_<name>(body, arrays)`, JSON values and arrays."""

    def __init__(self, folder: Path, shard: Any, widths: tuple[int, int | None]) -> None:
        self._folder = folder
        self._shard = shard
        self._widths = widths
        self._unflushed = 0

    @classmethod
    def open(cls, folder: str, dim: int, colbert_dim: int | None, owner: int) -> Shard:
        """Open the shard in `folder`, made on the first time.

        Raises:
            EngineError: "in_use", naming who has it; "storage" if its files cannot be read.
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
        """Do what is asked."""
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
        """Flush and let go of the files."""
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
        """Delete by passage ids."""
        ids = {convert.point_id(i) for i in body["ids"]}
        found = self._count(convert.only(ids))
        self._shard.update(qe.UpdateOperation.delete_points(list(ids)))
        return {"count": found}, []

    def op_delete_where(self, body: dict[str, Any], _: list[NDArray[Any]]) -> Message:
        """Delete what matches."""
        where = convert.engine_filter(parse_filter(body["where"]))
        found = self._count(where)
        self._shard.update(qe.UpdateOperation.delete_points_by_filter(where))
        return {"count": found}, []

    def op_get(self, body: dict[str, Any], _: list[NDArray[Any]]) -> Message:
        """Passages by their ids."""
        ids = [convert.point_id(i) for i in body["ids"]]
        records = self._shard.retrieve(ids, ["passage"], False)
        found = {str(r.id): r.payload["passage"] for r in records}
        return {"passages": [found.get(i) for i in ids]}, []

    def op_term_weights(self, body: dict[str, Any], _: list[NDArray[Any]]) -> Message:
        """Sparse vectors by passage ids."""
        ids = [convert.point_id(i) for i in body["ids"]]
        found = {
            str(r.id): (r.vector or {}).get("sparse")
            for r in self._shard.retrieve(ids, False, ["sparse"])
        }
        rows = [([], []) if (v := found.get(i)) is None else (v.indices, v.values) for i in ids]
        return {"weights": rows}, []

    def op_dense_vectors(self, body: dict[str, Any], _: list[NDArray[Any]]) -> Message:
        """Dense vectors by passage ids: which are there, and an array for each of those."""
        ids = [convert.point_id(i) for i in body["ids"]]
        records = self._shard.retrieve(ids, False, ["dense"])
        found = {str(r.id): np.array(r.vector["dense"], np.float32) for r in records}
        return {"there": [i in found for i in ids]}, [found[i] for i in ids if i in found]

    def op_count(self, body: dict[str, Any], _: list[NDArray[Any]]) -> Message:
        """How many there are, or match."""
        return {"count": self._count(convert.engine_filter(parse_filter(body["where"])))}, []

    def op_scan(self, body: dict[str, Any], _: list[NDArray[Any]]) -> Message:
        """A page of passages, in the order of the engine's ids."""
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
        """Candidates of each plan, with their scores as one array a plan, channel by channel."""
        answers: list[NDArray[Any]] = []
        ids = []
        for plan in body["plans"]:
            queries = {c: convert.floats(arrays[at]) for c, at in plan["arrays"].items()}
            queries |= {c: convert.sparse_vector(w) for c, w in plan["weights"].items()}
            found, scores = self._candidates(plan, queries)
            ids.append(found)
            answers.append(scores)
        return {"ids": ids}, answers

    def op_optimize(self, body: dict[str, Any], _: list[NDArray[Any]]) -> Message:
        """Merge segments, drop what was deleted, quantise dense vectors from a size on."""
        self._shard.flush()
        if body["quantize_from"] <= self._count(None):
            self._shard.close()
            wanted = convert.config(*self._widths, quantized=True)
            self._shard = qe.EdgeShard.load(str(self._folder / "edge"), wanted)
        self._shard.optimize()
        self._shard.flush()
        return {}, []

    def _candidates(
        self, plan: dict[str, Any], queries: dict[str, Any]
    ) -> tuple[list[str], NDArray[np.float32]]:
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
            if rest:  # what other channels proposed; a token weight's absence is a score of 0
                exact = convert.only(rest)
                known[channel] |= self._query(channel, queries[channel], len(rest), exact)
        ids = {str(r.id): r.payload["id"] for r in self._shard.retrieve(list(union), ["id"], False)}
        scores = np.array([[_score(known, c, i) for i in union] for c in plan["score"]], np.float32)
        return [ids[i] for i in union], scores

    def _query(self, channel: str, query: Any, limit: int, where: Any) -> dict[str, float]:
        """The best `limit` of what `where` lets through, as engine id and score."""
        params = None
        if channel == "bm25":  # idf over what exists now, not over what a segment once held
            params = qe.SearchParams(idf=qe.IdfParams(convert.EVERYTHING))
        elif channel == "dense":
            often = max(_OVERSAMPLING, _RESCORED / limit)
            exactly = qe.QuantizationSearchParams(rescore=True, oversampling=often)
            params = qe.SearchParams(quantization=exactly)
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
        length = len(query) if channel == "colbert" else 1  # the engine sums where we average
        return {str(hit.id): hit.score / length for hit in found}

    def _count(self, where: Any) -> int:
        return int(self._shard.count(qe.CountRequest(exact=True, filter=where)))


def _score(known: dict[str, dict[str, float]], channel: str, point: str) -> float:
    return (
        known[channel].get(point, 0.0) if channel in ("sparse", "bm25") else known[channel][point]
    )


def _create(home: Path, config: Any) -> None:
    """Make the shard beside its place and move it there, so that it is never half there."""
    made = home / "edge.new"
    shutil.rmtree(made, ignore_errors=True)  # of an earlier attempt that was killed
    shard = qe.EdgeShard.create(str(made), config)
    shard.update(qe.UpdateOperation.create_field_index("document_id", qe.PayloadSchemaType.Keyword))
    shard.close()
    made.rename(home / "edge")
