"""Passages whose every value follows from an id and a version, what a store may hold of them, and
a check of all that it holds."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from m3rag.documents import Passage
from m3rag.encoding import MultiVectors, SparseVectors
from m3rag.stores.base import Points, QueryPlan, Store, pages
from m3rag.stores.filters import Equals
from m3rag.stores.memory import MemoryStore
from tests.stores.stores import COLBERT_DIM, DIM, make, unit, weights

DOCUMENTS = 7
CHANNELS = ("dense", "sparse", "bm25", "colbert")
TOLERANCE = {"dense": 1e-4, "sparse": 1e-4, "bm25": 1e-4, "colbert": 0.01}

Items = Iterable[tuple[str, int]]


def document(id_: str) -> str:
    """Return the document of a passage."""
    return f"doc{zlib.crc32(id_.encode()) % DOCUMENTS}"


def passage(id_: str, version: int) -> Passage:
    """Return a version of a passage; one whose id begins with "big" has 20,000 characters."""
    metadata = {"v": version, "par": version % 2}
    text = f"text of {id_} version {version}" + " and more" * (2_200 * id_.startswith("big"))
    return Passage(id_, text, metadata, document_id=document(id_))


def points(items: Items) -> Points:
    """Return versions of passages with their vectors, always the same."""
    one = [
        make(np.random.default_rng(zlib.crc32(f"{id_}/{v}".encode())), [passage(id_, v)])
        for id_, v in items
    ]
    return Points(
        [point.passages[0] for point in one],
        np.concatenate([point.dense for point in one]),
        SparseVectors.from_rows([point.sparse.rows(0) for point in one]),
        SparseVectors.from_rows([point.bm25.rows(0) for point in one]),
        MultiVectors.from_rows([point.colbert[0] for point in one]),
    )


def query(seed: int, n: int, channel: str, score: Sequence[str] = CHANNELS) -> QueryPlan:
    """Return a random query that finds the best n passages of a channel."""
    rng = np.random.default_rng(seed)
    return QueryPlan(
        (channel,),
        tuple(score),
        n,
        dense=unit(rng, DIM),
        sparse=weights(rng) | {1: 0.5},
        colbert=unit(rng, 2, COLBERT_DIM),
        bm25=weights(rng, vocabulary=25) | {2: 1.0},
    )


class Truth:
    """The versions that a store may have of each passage; None stands for a missing passage."""

    def __init__(self, allowed: Mapping[str, Iterable[int | None]] = MappingProxyType({})) -> None:
        self.allowed: dict[str, set[int | None]] = {i: set(v) for i, v in allowed.items()}

    def __iter__(self) -> Iterator[str]:
        """Iterate over the passages that may be there."""
        return (i for i, versions in self.allowed.items() if versions != {None})

    def copy(self) -> Truth:
        return Truth(self.allowed)

    def set(self, changes: Mapping[str, int | None], *, sure: bool) -> None:
        """Note changes that were acknowledged (`sure`), or that may have happened."""
        for id_, version in changes.items():
            before = set() if sure else self.allowed.get(id_, {None})
            self.allowed[id_] = before | {version}

    def settle(self, seen: Mapping[str, int]) -> None:
        """Take what a store has as the truth."""
        self.allowed = {id_: {version} for id_, version in seen.items()}

    def problems(self, seen: Mapping[str, int]) -> list[str]:
        """Return what is missing from a store or should not be there."""
        found = []
        for id_ in {*self.allowed, *seen}:
            allowed, has = self.allowed.get(id_, {None}), seen.get(id_)
            if has in allowed:
                continue
            versions = sorted(str(v) for v in allowed)
            if has is None:
                found.append(f"lost: {id_}, allowed are the versions {versions}")
            elif allowed == {None}:
                found.append(f"wrong: {id_} came back with version {has}")
            else:
                found.append(f"lost: {id_} has version {has}, allowed are {versions}")
        return found


def seen_in(store: Store) -> tuple[dict[str, int], list[str]]:
    """Return the version of each passage in a store, and what is wrong with the passages."""
    seen: dict[str, int] = {}
    problems = []
    for page in pages(store, None, 200):
        for found in page:
            if found.id in seen:
                problems.append(f"wrong: {found.id} twice in a scan")
            seen[found.id] = int(found.metadata["v"])
            if found != passage(found.id, seen[found.id]):
                problems.append(f"wrong: {found.id} is {str(found)[:200]}")
    return seen, problems


def check(store: Store, truth: Truth, *, seed: int = 0) -> tuple[dict[str, int], list[str]]:
    """Compare everything in a store with what may be there and with fresh vectors.

    Returns:
        The version of each passage, and the problems; each begins with "lost" or "wrong".
    """
    seen, problems = seen_in(store)
    problems += truth.problems(seen)
    problems += _counts(store, seen)
    problems += _rows(store, seen)
    problems += _scores(store, seen, seed)
    return seen, problems


def _counts(store: Store, seen: Mapping[str, int]) -> Iterator[str]:
    fields = {Equals("document_id", f"doc{d}"): f"doc{d}" for d in range(DOCUMENTS)}
    expected = {where: {i for i in seen if document(i) == doc} for where, doc in fields.items()}
    for parity in (0, 1):
        expected[Equals("par", parity)] = {i for i, v in seen.items() if v % 2 == parity}
    if (count := store.count()) != len(seen):
        yield f"wrong: count() is {count}, a scan has {len(seen)}"
    for where, ids in expected.items():
        if (count := store.count(where)) != len(ids):
            yield f"wrong: count({where}) is {count}, expected {len(ids)}"
        found = {p.id for page in pages(store, where, 200) for p in page}
        if found != ids:
            yield f"wrong: scan({where}) differs in {sorted(found ^ ids)[:5]}"


def _rows(store: Store, seen: Mapping[str, int]) -> Iterator[str]:
    ids = sorted(seen)
    if not ids:
        return
    expected = points((i, seen[i]) for i in ids)
    asked = [*ids, "missing"]
    passages, dense, sparse = (
        store.get(asked),
        store.dense_vectors(asked),
        store.term_weights(asked),
    )
    if passages[-1] is not None or dense[-1] is not None or sparse[-1]:
        yield "wrong: a passage that does not exist was found"
    for row, id_ in enumerate(ids):
        if passages[row] != expected.passages[row]:
            yield f"wrong: get({id_!r}) is {str(passages[row])[:200]}"
        vector = dense[row]
        if vector is None or not np.allclose(vector, expected.dense[row], rtol=0, atol=1e-6):
            yield f"wrong: dense vector of {id_}"
        has, wanted = sparse[row], expected.sparse[row]
        if has.keys() != wanted.keys() or any(abs(has[t] - w) > 1e-5 for t, w in wanted.items()):
            yield f"wrong: term weights of {id_}"


def _scores(store: Store, seen: Mapping[str, int], seed: int) -> Iterator[str]:
    """Compare the scores of all passages in all channels with those of exact arithmetic."""
    n = len(seen) + 10
    plans = [query(seed, n, channel) for channel in CHANNELS]
    plans += [query(seed + k, n, "dense", ["dense", "colbert"]) for k in (1, 2)]
    expected = expectations(points(seen.items()), plans) if seen else [{} for _ in plans]
    for plan, found, right in zip(plans, store.search(plans), expected, strict=True):
        [channel] = plan.retrieve
        wanted = {i for i, scores in right.items() if scores[channel] > 0 or channel in _ALL}
        if set(found.ids) != wanted or len(found.ids) != len(wanted):
            differs = sorted(set(found.ids) ^ wanted)[:5]
            yield f"wrong: {channel} finds {len(found.ids)} of {len(wanted)}, differs in {differs}"
        for name in plan.score:
            pairs = zip(found.ids, found.scores[name].tolist(), strict=True)
            bad = [
                f"wrong: {name} score of {i} is {score:.4f}, expected {right[i][name]:.4f}"
                for i, score in pairs
                if i in right and not abs(score - right[i][name]) <= TOLERANCE[name]
            ]  # `not <=` also finds a score that is no number
            yield from bad[:3]


_ALL = ("dense", "colbert")  # they find every passage; the others those that share a token


def expectations(known: Points, plans: Sequence[QueryPlan]) -> list[dict[str, dict[str, float]]]:
    """Return the right scores of each passage for each plan, by id and channel.

    The store in memory gives all but those of ColBERT, for which it loads torch.
    """
    memory = MemoryStore()
    memory.add(known)
    found = []
    for plan in plans:
        others = tuple(channel for channel in plan.score if channel != "colbert")
        [exact] = memory.search([replace(plan, retrieve=("dense",), score=others)])
        columns = [exact.scores[channel].tolist() for channel in others]
        scores = {
            id_: dict(zip(others, row, strict=True))
            for id_, *row in zip(exact.ids, *columns, strict=True)
        }
        for passage_, rows in zip(known.passages, known.colbert or (), strict=True):
            assert plan.colbert is not None
            best = (plan.colbert @ rows.astype(np.float32).T).max(axis=1)
            scores[passage_.id]["colbert"] = float(best.mean())
        found.append(scores)
    return found
