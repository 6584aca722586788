"""Convert LlamaIndex's metadata filters to filters of an index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)

from m3rag.errors import InputError
from m3rag.limits import shown
from m3rag.stores.filters import Where as AnyWhere

Where = dict[str, Any]
"""A filter of an index, as for `parse_filter`."""

_DOCUMENT = ("doc_id", "ref_doc_id", "document_id")
"""The keys under which LlamaIndex's own stores have the id of the source document."""


def _equal(key: str, value: Any) -> Where:
    if value is None:
        return {key: {"exists": False}}
    if value in (0, 1) and not isinstance(value, bool):  # LlamaIndex has no booleans in filters
        return {"$or": [{key: value}, {key: bool(value)}]}
    return {key: value}


def _any(key: str, values: Any) -> Where:
    return {"$or": [_equal(key, value) for value in values]} if values else {key: []}


def _every(key: str, values: Any) -> Where:
    return {"$and": [_equal(key, value) for value in values]} if values else {key: {"exists": True}}


_CONDITIONS: dict[FilterOperator, Callable[[str, Any], Where]] = {
    FilterOperator.EQ: _equal,
    FilterOperator.CONTAINS: _equal,  # matches an element of a list
    FilterOperator.NE: lambda key, value: {"$not": _equal(key, value)},
    FilterOperator.GT: lambda key, value: {key: {"gt": value}},
    FilterOperator.GTE: lambda key, value: {key: {"gte": value}},
    FilterOperator.LT: lambda key, value: {key: {"lt": value}},
    FilterOperator.LTE: lambda key, value: {key: {"lte": value}},
    FilterOperator.IN: lambda key, value: _any(key, _values(key, value)),
    FilterOperator.ANY: lambda key, value: _any(key, _values(key, value)),
    FilterOperator.NIN: lambda key, value: {"$not": _any(key, _values(key, value))},
    FilterOperator.ALL: lambda key, value: _every(key, _values(key, value)),
    FilterOperator.TEXT_MATCH: lambda key, value: {key: {"text": value}},
    FilterOperator.TEXT_MATCH_INSENSITIVE: lambda key, value: {key: {"text": value}},
    FilterOperator.IS_EMPTY: lambda key, value: {"$or": [{key: {"exists": False}}, {key: ""}]},
}


def where_of(filters: MetadataFilters | None, name: str = "filters") -> Where | None:
    """Return the index's filter for LlamaIndex's filters; None if there is nothing to filter.

    Keys are metadata keys of the nodes, such as "lang", or "author.name" for a key in a dict;
    "doc_id", "ref_doc_id" and "document_id" are also the id of the source document, and "id" that
    of the node. As in LlamaIndex, a node without the key matches only `!=`, `nin` and `is_empty`.
    0 and 1 match false and true too, because LlamaIndex's filters have no booleans. The text
    matches look for whole words, in any case.

    Raises:
        InputError: A value cannot be compared.
    """
    if filters is None:
        return None
    if not isinstance(filters, MetadataFilters):
        raise InputError(
            f"`{name}` must be MetadataFilters, got {shown(filters)}. Use "
            "MetadataFilters(filters=[MetadataFilter(key=…, value=…)])."
        )
    parts = [part for part in map(_part, filters.filters) if part is not None]
    if not parts:
        return None
    if filters.condition == FilterCondition.OR:
        return {"$or": parts}
    if filters.condition == FilterCondition.NOT:  # matches nodes that match none of the parts
        return {"$not": {"$or": parts}}
    return {"$and": parts}


def where_of_query(query: VectorStoreQuery) -> Where | None:
    """Return the index's filter for all restrictions of a query: metadata, documents, nodes."""
    parts = [
        where_of(query.filters),
        {"$document_id": query.doc_ids} if query.doc_ids else None,
        {"$id": query.node_ids} if query.node_ids else None,
    ]
    return all_of(*parts)


def one_of(field: str, ids: Sequence[str] | None, name: str) -> Where | None:
    """Return a filter for some ids; None if there are none to filter by.

    Args:
        field: "id" or "document_id".
        ids: The ids.
        name: The name of the argument, for errors.
    """
    if ids is None:
        return None
    if isinstance(ids, str) or not isinstance(ids, Sequence):
        raise InputError(f"`{name}` must be a list of strings, got {shown(ids)}.")
    return {field: list(ids)}


def all_of(*parts: AnyWhere) -> Where | None:
    """Return a filter that requires all parts; None if there are none."""
    given = [part for part in parts if part is not None]
    return {"$and": given} if given else None


def restriction(node_ids: list[str] | None, filters: MetadataFilters | None) -> Where | None:
    """Return the index's filter for ids and filters; None if there is nothing to filter."""
    return all_of(one_of("$id", node_ids, "node_ids"), where_of(filters))


def _part(part: MetadataFilter | MetadataFilters) -> Where | None:
    if isinstance(part, MetadataFilters):
        return where_of(part)
    condition = _CONDITIONS[part.operator]
    if part.key not in _DOCUMENT[:2]:
        return condition(part.key, part.value)
    either = [condition(part.key, part.value), condition("document_id", part.value)]
    negated = part.operator in (FilterOperator.NE, FilterOperator.NIN, FilterOperator.IS_EMPTY)
    return {"$and" if negated else "$or": either}


def _values(key: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"Filter on {key!r}: this operator takes a list of values, got {value!r}.")
    return value
