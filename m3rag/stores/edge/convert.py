"""Conversion of ids, vectors, points and filters to qdrant-edge's. Loaded by its process only."""

from __future__ import annotations

import uuid
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import qdrant_edge as qe
from numpy.typing import NDArray

from m3rag.stores.filters import And, Equals, Filter, In, Not, Or, Range

_NAMESPACE = uuid.UUID("6d3ba1f4-0c5e-5b0e-9d0a-3f2f8f6f1c11")  # never change it: ids depend on it

EVERYTHING = qe.Filter()


class EngineError(Exception):
    """An error of the engine process, in a form that can be sent to the client.

    Attributes:
        kind: "in_use" or "storage"; the client raises the error class of that kind.
        fatal: Whether the process must be restarted.
    """

    def __init__(self, kind: str, message: str, *, fatal: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.fatal = fatal


def point_id(passage_id: str) -> str:
    """Return the engine's id of a passage: a UUID, as the engine requires, made from its id."""
    return str(uuid.uuid5(_NAMESPACE, passage_id))


def config(dim: int, colbert_dim: int | None, *, quantized: bool = False) -> Any:
    """Return the configuration of the shard's vectors.

    Dense vectors are float32 and scanned exactly, so that scores are the model's own. There is no
    graph: building one takes minutes, the scan milliseconds. Large indexes add a copy with 2 bits
    per dimension (TurboQuant, which rotates first). Searches scan this copy, four times as fast as
    a copy with 8 bits, and score its best passages exactly. ColBERT vectors, 99 % of the size, have
    8 bits per dimension, which did not change the order of the top 10 in measurements.
    """
    two_bits = qe.TurboQuantQuantizationConfig(bits=qe.TurboQuantBitSize.Bits2)
    exact = qe.HnswIndexConfig(m=0, ef_construct=4, full_scan_threshold=10)
    vectors = {
        "dense": qe.EdgeVectorParams(
            size=dim,
            distance=qe.Distance.Dot,
            hnsw_config=exact,
            quantization_config=two_bits if quantized else None,
        )
    }
    if colbert_dim is not None:
        vectors["colbert"] = qe.EdgeVectorParams(
            size=colbert_dim,
            distance=qe.Distance.Dot,
            datatype=qe.VectorStorageDatatype.Turbo8,
            multivector_config=qe.MultiVectorConfig(qe.MultiVectorComparator.MaxSim),
            hnsw_config=exact,
        )
    return qe.EdgeConfig(
        vectors=vectors,
        sparse_vectors={
            "sparse": qe.EdgeSparseVectorParams(),
            "bm25": qe.EdgeSparseVectorParams(modifier=qe.Modifier.Idf),
        },
        optimizers=qe.EdgeOptimizersConfig(indexing_threshold=1) if quantized else None,
    )


def points(payloads: Sequence[dict[str, Any]], arrays: Sequence[NDArray[Any]]) -> Iterator[Any]:
    """Yield engine points; `m3rag.stores.edge.store._arrays` sets the order of the arrays."""
    dense = arrays[0]
    sparse, bm25 = _sparse_rows(*arrays[1:4]), _sparse_rows(*arrays[4:7])
    offsets, colbert = arrays[7:] if len(arrays) > 7 else (None, None)
    for i, (payload, terms, tokens) in enumerate(zip(payloads, sparse, bm25, strict=True)):
        vectors = {"dense": floats(dense[i]), "sparse": terms, "bm25": tokens}
        if offsets is not None and colbert is not None:
            vectors["colbert"] = floats(colbert[offsets[i] : offsets[i + 1]])
        metadata = {key: filterable(value) for key, value in payload["metadata"].items()}
        yield qe.Point(point_id(payload["id"]), vectors, {**payload, "metadata": metadata})


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


def filterable(value: Any) -> Any:
    """Return a metadata value in the form for filters: the engine's bindings take True for 1."""
    if isinstance(value, bool):
        return "\0true" if value else "\0false"
    return [filterable(v) for v in value] if isinstance(value, list | tuple) else value


def only(ids: Iterable[str]) -> Any:
    """Return the filter that matches these engine ids."""
    return qe.Filter(must=[qe.HasIdCondition(set(ids))])


def engine_filter(tree: Filter | None) -> Any:
    """Return the same conditions in the engine's classes; None stays None."""
    return None if tree is None else qe.Filter(must=[_condition(tree)])


def _condition(tree: Filter) -> Any:
    match tree:
        case Equals("id", value):
            return qe.HasIdCondition({point_id(value)} if isinstance(value, str) else set())
        case In("id", values):
            return qe.HasIdCondition({point_id(v) for v in values if isinstance(v, str)})
        case Equals(field, str() | bool() as value):
            return qe.FieldCondition(_path(field), match=qe.MatchValue(filterable(value)))
        case Equals(field, value):  # the engine's equality takes only integers, and 3 is not 3.0
            return qe.FieldCondition(
                _path(field), range=qe.RangeFloat(gte=float(value), lte=float(value))
            )
        case In(field, values) if all(isinstance(v, str) for v in values):
            return qe.FieldCondition(_path(field), match=qe.MatchAny([str(v) for v in values]))
        case In(field, values):
            return qe.Filter(should=[_condition(Equals(field, v)) for v in values])
        case Range(field, gt, gte, lt, lte):
            bounds = qe.RangeFloat(gt=gt, gte=gte, lt=lt, lte=lte)
            return qe.FieldCondition(_path(field), range=bounds)
        case And(parts):
            return qe.Filter(must=[_condition(part) for part in parts])
        case Or(parts):
            return qe.Filter(should=[_condition(part) for part in parts])
        case Not(part):
            return qe.Filter(must_not=[_condition(part)])


def _path(field: str) -> str:
    return field if field in ("id", "document_id") else f'metadata."{field}"'


def _sparse_rows(
    indptr: NDArray[Any], indices: NDArray[Any], values: NDArray[Any]
) -> Iterator[Any]:
    bounds, tokens, weights = indptr.tolist(), indices.tolist(), values.tolist()
    for start, end in pairwise(bounds):
        yield qe.SparseVector(tokens[start:end], weights[start:end])
