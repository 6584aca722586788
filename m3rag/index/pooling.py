"""Queries of several texts, and their views as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3rag.encoding import Encoding, MultiVectors, SparseVectors
from m3rag.errors import InputError
from m3rag.limits import shown
from m3rag.scoring.fusion import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """A query of several texts that is searched for as one, or one with a dense vector of its own.

    The texts may be a question in other words, or passages that a language model wrote as an answer
    (HyDE). Every channel hears all of them:

        dense      the mean of the vectors, of unit length, or the given vector, of unit length
        sparse     the highest weight of each token
        colbert    the vectors of all texts, as if they were one
        bm25       the highest frequency of each token

    Example:
        >>> index.search(Query(["Where do I put my fern?", "Ferns grow well in the shade."]))

    Attributes:
        texts: One or more texts.
        dense: A dense vector `(dim,)` that replaces those of the texts.
    """

    texts: Sequence[str]
    dense: Sequence[float] | NDArray[np.floating] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.texts, str) or not isinstance(self.texts, Sequence) or not self.texts:
            raise InputError(
                f"A Query needs a list of one or more texts, got {shown(self.texts)}. For a vector "
                "without a text, use search_by_vector."
            )

    @property
    def plain(self) -> bool:
        """Whether it is one text, as if the text itself were the query."""
        return len(self.texts) == 1 and self.dense is None


def as_query(query: str | Query) -> Query:
    """Return a query; a text is a query of one text."""
    return query if isinstance(query, Query) else Query([query])


def pooled_encoding(queries: Sequence[Query], encoding: Encoding) -> Encoding:
    """Return one encoding for each query.

    Args:
        queries: The n queries.
        encoding: The views of all their texts, one after the other.
    """
    if all(query.plain for query in queries):
        return encoding
    rows = list(_rows(queries))
    dense = np.stack(
        [
            _unit(
                encoding.dense[part].mean(axis=0)
                if query.dense is None
                else np.asarray(query.dense, np.float32)
            )
            for part, query in zip(rows, queries, strict=True)
        ]
    )
    colbert = [np.concatenate([encoding.colbert[i] for i in _numbers(part)]) for part in rows]
    return Encoding(
        n_tokens=np.array([encoding.n_tokens[part].sum() for part in rows], np.int32),
        truncated=np.array([encoding.truncated[part].any() for part in rows], np.bool_),
        dense=dense.astype(np.float32),
        sparse=_pooled(encoding.sparse, rows),
        colbert=MultiVectors.from_rows(colbert),
    )


def pooled_counts(queries: Sequence[Query], counts: SparseVectors) -> SparseVectors:
    """Return the token frequencies of each query, from those of all their texts."""
    return counts if all(q.plain for q in queries) else _pooled(counts, list(_rows(queries)))


def _pooled(weights: SparseVectors, rows: Sequence[slice]) -> SparseVectors:
    """Return the highest weight of each token in some texts."""
    found = []
    for part in rows:
        highest: dict[int, float] = {}
        for i in _numbers(part):
            _raise_to(highest, weights[i])
        found.append(highest)
    return SparseVectors.from_dicts(found)


def _raise_to(highest: dict[int, float], weights: Mapping[int, float]) -> None:
    for token, weight in weights.items():
        highest[token] = max(weight, highest.get(token, 0.0))


def _rows(queries: Sequence[Query]) -> Iterator[slice]:
    """Yield the rows of each query's texts."""
    start = 0
    for query in queries:
        yield slice(start, start + len(query.texts))
        start += len(query.texts)


def _numbers(part: slice) -> range:
    return range(part.start, part.stop)


def _unit(vector: Floats) -> Floats:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else vector
