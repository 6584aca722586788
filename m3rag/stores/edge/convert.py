"""Conversion of vectors, points and filters to qdrant-edge's. Loaded by its process only."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import qdrant_edge as qe
from numpy.typing import NDArray

from m3rag.stores.filter_fields import Found
from m3rag.stores.filters import And, Equals, Exists, Filter, In, Leaf, Not, Or, Pattern, Range
from m3rag.stores.instants import instant, interval

EVERYTHING = qe.Filter()


def config(dim: int, *, quantized: bool = False) -> Any:
    """Return the configuration of the shard's vectors.

    Dense vectors are float32 and scanned exactly, so that scores are the model's own. There is no
    graph: building one takes minutes, the scan milliseconds. Large indexes add a copy with 2 bits
    per dimension (TurboQuant, which rotates first). Searches scan this copy, four times as fast as
    a copy with 8 bits, and score its best passages exactly.
    """
    two_bits = qe.TurboQuantQuantizationConfig(bits=qe.TurboQuantBitSize.Bits2)
    dense = qe.EdgeVectorParams(
        size=dim,
        distance=qe.Distance.Dot,
        hnsw_config=qe.HnswIndexConfig(m=0, ef_construct=4, full_scan_threshold=10),
        quantization_config=two_bits if quantized else None,
    )
    return qe.EdgeConfig(
        vectors={"dense": dense},
        sparse_vectors={
            "sparse": qe.EdgeSparseVectorParams(),
            "bm25": qe.EdgeSparseVectorParams(modifier=qe.Modifier.Idf),
        },
        optimizers=qe.EdgeOptimizersConfig(indexing_threshold=1) if quantized else None,
    )


def points(
    fields: Sequence[tuple[str | None, Mapping[str, Sequence[Any]]]],
    arrays: Sequence[NDArray[Any]],
) -> Iterator[Any]:
    """Yield engine points; `m3rag.stores.edge.engine` sets the order of the arrays.

    Args:
        fields: The document id and the values of each point, as `filter_fields.fields` returns
            them.
        arrays: The keys and the vectors.
    """
    keys, dense = arrays[0].tolist(), arrays[1]
    sparse, bm25 = _sparse_rows(*arrays[2:5]), _sparse_rows(*arrays[5:8])
    for i, (key, (document_id, named), terms, tokens) in enumerate(
        zip(keys, fields, sparse, bm25, strict=True)
    ):
        vectors = {"dense": floats(dense[i]), "sparse": terms, "bm25": tokens}
        values = {name: [filterable(v) for v in found] for name, found in named.items()}
        dates = {name: moments for name, found in named.items() if (moments := _moments(found))}
        # That of the passage and those of its metadata, in one field, which has an index.
        own = [] if document_id is None else [filterable(document_id)]
        documents = own + values.pop("document_id", [])
        payload = {"document_id": documents, "metadata": values, "dates": dates}
        yield qe.Point(key, vectors, payload)


def floats(numbers: NDArray[Any]) -> Any:
    """Return a vector, or a matrix's rows, as arrays.

    The bindings read them 3 times as fast as numpy's own.
    """
    numbers = numbers.astype(np.float32, copy=False)
    if numbers.ndim == 1:
        return array("f", numbers.tobytes())
    return [array("f", row.tobytes()) for row in numbers]


def sparse_vector(weights: Mapping[str, float]) -> Any:
    """Return the engine's form of token weights, whose ids JSON turned into strings."""
    return qe.SparseVector([int(token) for token in weights], list(weights.values()))


def filterable(value: Found) -> str | float:
    """Return a value in the form for filters: the engine's bindings take True for 1."""
    if value is None:
        return "\0exists"
    if isinstance(value, bool):
        return "\0true" if value else "\0false"
    if isinstance(value, str):
        return f"\0{value}" if value.startswith("\0") else value
    return float(value)


def _moments(values: Sequence[Found]) -> list[float]:
    found = [instant(value) for value in values if isinstance(value, str)]
    return [float(moment) for moment in found if moment is not None]


def only(keys: Iterable[int]) -> Any:
    """Return the filter that matches these keys."""
    return qe.Filter(must=[qe.HasIdCondition(set(keys))])


def engine_filter(tree: Filter | None) -> Any:
    """Return the same conditions in the engine's classes; None stays None."""
    return None if tree is None else qe.Filter(must=[_condition(tree)])


def _condition(tree: Filter) -> Any:
    match tree:
        case In("$id", values):  # the store has put the keys of passages there
            return qe.HasIdCondition({v for v in values if isinstance(v, int)})
        case And(parts):
            return qe.Filter(must=[_condition(part) for part in parts])
        case Or(parts):
            return qe.Filter(should=[_condition(part) for part in parts])
        case Not(part):
            return qe.Filter(must_not=[_condition(part)])
    if tree.field == "document_id":
        return _test(tree, "document_id")
    of_dates = isinstance(tree, Range) and tree.of_dates
    return _test(tree, f'{"dates" if of_dates else "metadata"}."{tree.field}"')


def _test(tree: Leaf, path: str) -> Any:
    """Return the test of the values at a path of the payload."""
    match tree:
        case Equals(_, str() | bool() as value):
            return qe.FieldCondition(path, match=qe.MatchValue(str(filterable(value))))
        case Equals(_, value):  # the engine's equality takes only integers, and 3 is not 3.0
            return qe.FieldCondition(path, range=qe.RangeFloat(gte=float(value), lte=float(value)))
        case In(_, values) if all(isinstance(v, str) for v in values):
            return qe.FieldCondition(path, match=qe.MatchAny([str(filterable(v)) for v in values]))
        case In(field, values):
            return qe.Filter(should=[_test(Equals(field, v), path) for v in values])
        case Exists():
            return qe.Filter(must_not=[qe.IsEmptyCondition(path)])
        case Range() if tree.of_dates:
            first, last = interval(tree.bounds)
            return qe.FieldCondition(path, range=qe.RangeFloat(gte=float(first), lte=float(last)))
        case Range():
            bounds = {bound: float(value) for bound, value in tree.bounds.items()}
            return qe.FieldCondition(path, range=qe.RangeFloat(**bounds))
        case Pattern():
            raise AssertionError("The store must replace patterns by keys.")


def _sparse_rows(
    indptr: NDArray[Any], indices: NDArray[Any], values: NDArray[Any]
) -> Iterator[Any]:
    bounds, tokens, weights = indptr.tolist(), indices.tolist(), values.tolist()
    for start, end in pairwise(bounds):
        yield qe.SparseVector(tokens[start:end], weights[start:end])
