"""Search a folder: the engine retrieves, the database scores ColBERT, numpy stands in."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3rag.encoding import SparseVectors
from m3rag.scoring.inverted import InvertedLists
from m3rag.stores import exact
from m3rag.stores.base import Candidates, Floats, QueryPlan
from m3rag.stores.edge import colbert
from m3rag.stores.edge.conditions import is_native
from m3rag.stores.edge.database import Database
from m3rag.stores.edge.engine import Engine
from m3rag.stores.edge.rows import SparseRow, dense_of, sparse_of
from m3rag.stores.filters import And, Filter, In, Not, Or, filter_to_dict

_SCANNED = 64  # passages whose ColBERT vectors are read at a time
_ATTEMPTS = 2  # of a search whose candidates are replaced meanwhile, before changes wait for it
_KEYS = "key IN (SELECT value FROM json_each(?))"


class Searcher:
    """The searches of a store.

    Args:
        database: The passages and their vectors.
        engine: The engine; None if the folder is read-only.
        colbert_dim: The width of the ColBERT vectors; None if they are not stored.
        changing: Held while the database and the engine change.
    """

    def __init__(
        self,
        database: Database,
        engine: Engine | None,
        colbert_dim: int | None,
        changing: threading.RLock,
    ) -> None:
        self._database = database
        self._engine = engine
        self._colbert_dim = colbert_dim
        self._changing = changing
        self._table: tuple[int, NDArray[np.int64], exact.Table] | None = None

    def search(self, plan: QueryPlan) -> Candidates:
        """Return the candidates of a plan.

        If another thread replaces or deletes some of them meanwhile, it searches again; the last
        time, changes wait.
        """
        for _ in range(_ATTEMPTS):
            candidates, complete = self._search(plan)
            if complete:
                return candidates
        with self._changing:
            return self._search(plan)[0]

    def _search(self, plan: QueryPlan) -> tuple[Candidates, bool]:
        """Return the candidates that the database still has, and whether it has them all."""
        scanned = self._best_colbert(plan) if "colbert" in plan.retrieve else {}
        found = self._engine_scores(plan, list(scanned))
        if found is None:
            return self._exact(plan), True
        keys, columns = found
        if "colbert" in plan.score:
            columns["colbert"] = self._colbert_scores(plan, keys, scanned)
        ids = dict(self._query("SELECT key, id FROM passage WHERE", _KEYS, [json.dumps(keys)]))
        there = np.array([key in ids for key in keys], bool)
        for column in columns.values():
            there &= ~np.isnan(column)
        kept = [ids[key] for key, is_there in zip(keys, there, strict=True) if is_there]
        scores = {channel: columns[channel][there] for channel in plan.score}
        return Candidates(kept, scores), bool(there.all())

    def _engine_scores(
        self, plan: QueryPlan, keys: list[int]
    ) -> tuple[list[int], dict[str, Floats]] | None:
        """Return the engine's candidates besides `keys`, and the engine's scores of all of them.

        A score is NaN if the engine does not have the passage. None if the engine cannot search.
        """
        channels = [c for c in plan.score if c != "colbert"]
        if not channels and set(plan.retrieve) <= {"colbert"}:
            return keys, {}
        if self._engine is None:
            return None
        arrays: list[NDArray[Any]] = []
        request = self._request(plan, channels, keys, arrays)
        for _ in range(2):  # an engine that dies is made again, once
            if not self._engine.running:
                with self._changing:
                    if not self._engine.ready():
                        return None
            found = self._engine.search([request], arrays)
            if found is not None:
                [(keys, scores)] = found
                return keys, dict(zip(channels, scores.reshape(len(channels), -1), strict=True))
        return None

    def _request(
        self, plan: QueryPlan, channels: list[str], keys: list[int], arrays: list[NDArray[Any]]
    ) -> dict[str, Any]:
        """Return the plan as JSON values, and append its vectors to `arrays`."""
        if plan.dense is not None:
            arrays.append(np.ascontiguousarray(plan.dense, np.float32))
        weights = {"sparse": plan.sparse, "bm25": plan.bm25}
        where = plan.where
        return {
            "retrieve": [c for c in plan.retrieve if c != "colbert"],
            "score": channels,
            "candidates": plan.candidates,
            "keys": keys,
            "where": None if where is None else filter_to_dict(self._with_keys(where)),
            "arrays": {} if plan.dense is None else {"dense": 0},
            "weights": {channel: w for channel, w in weights.items() if w is not None},
        }

    def _with_keys(self, tree: Filter) -> Filter:
        """Return a filter in which the keys of passages stand for what only SQL can test."""
        match tree:
            case And(parts):
                return And(tuple(self._with_keys(part) for part in parts))
            case Or(parts):
                return Or(tuple(self._with_keys(part) for part in parts))
            case Not(part):
                return Not(self._with_keys(part))
        if is_native(tree):
            return tree
        return In("$id", tuple(self._matching(tree)))

    def _matching(self, where: Filter | None) -> list[int]:
        """Return the keys of the passages that match."""
        test, parameters = self._database.condition(where)
        return [key for (key,) in self._query("SELECT key FROM passage WHERE", test, parameters)]

    def _exact(self, plan: QueryPlan) -> Candidates:
        """Search without the engine: all vectors but those of ColBERT are read into memory."""
        with self._changing:
            change = self._database.state().change
            if self._table is None or self._table[0] != change:
                self._table = (change, *_table(self._database))
            _, keys, table = self._table
            found = self._matching(plan.where)
            allowed = np.searchsorted(keys, sorted(found)).astype(np.int64)

            def score(rows: exact.Rows) -> Floats:
                return self._colbert_scores(plan, keys[rows].tolist(), {})

            return exact.candidates(table, plan, allowed, score)

    def _best_colbert(self, plan: QueryPlan) -> dict[int, float]:
        """Return the keys with the best ColBERT scores of all that the filter matches."""
        found = self._matching(plan.where)
        best: dict[int, float] = {}
        for start in range(0, len(found), _SCANNED):
            keys = found[start : start + _SCANNED]
            scores = self._colbert_scores(plan, keys, {}).tolist()
            best |= {key: s for key, s in zip(keys, scores, strict=True) if not math.isnan(s)}
            if len(best) > plan.candidates:
                best = dict(sorted(best.items(), key=lambda item: -item[1])[: plan.candidates])
        return best

    def _colbert_scores(
        self, plan: QueryPlan, keys: Sequence[int], known: Mapping[int, float]
    ) -> Floats:
        """Return the ColBERT scores of some keys; NaN for one that was deleted meanwhile."""
        assert plan.colbert is not None
        assert self._colbert_dim is not None
        scores = dict(known)
        wanted = [key for key in keys if key not in scores]
        for start in range(0, len(wanted), _SCANNED):
            part = json.dumps(wanted[start : start + _SCANNED])
            rows = self._query("SELECT key, vectors FROM colbert WHERE", _KEYS, [part])
            found = colbert.scores(plan.colbert, [row[1] for row in rows], self._colbert_dim)
            scores |= dict(zip((row[0] for row in rows), found.tolist(), strict=True))
        return np.array([scores.get(key, math.nan) for key in keys], np.float32)

    def _query(self, select: str, test: str, parameters: Sequence[Any]) -> list[Any]:
        return self._database.query(f"{select} {test}", parameters)


def _table(database: Database) -> tuple[NDArray[np.int64], exact.Table]:
    """Return all keys, ascending, and the vectors by their position."""
    keys: list[int] = []
    ids: list[str] = []
    dense: list[Floats] = []
    sparse: list[SparseRow] = []
    bm25: list[SparseRow] = []
    for rows in database.rows():
        keys += [row.key for row in rows]
        ids += [row.id for row in rows]
        dense += [dense_of(row.dense) for row in rows]
        sparse += [sparse_of(row.sparse) for row in rows]
        bm25 += [sparse_of(row.bm25) for row in rows]
    table = exact.Table(
        ids,
        np.stack(dense) if dense else np.zeros((0, 0), np.float32),
        InvertedLists(SparseVectors.from_rows(sparse)),
        InvertedLists(SparseVectors.from_rows(bm25)),
    )
    return np.array(keys, np.int64), table
