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

_CONDITIONS: dict[FilterOperator, Callable[[str, Any], Where]] = {
    FilterOperator.EQ: lambda key, value: {key: value},
    FilterOperator.CONTAINS: lambda key, value: {key: value},  # matches an element of a list
    FilterOperator.NE: lambda key, value: {"$not": {key: value}},
    FilterOperator.GT: lambda key, value: {key: {"gt": value}},
    FilterOperator.GTE: lambda key, value: {key: {"gte": value}},
    FilterOperator.LT: lambda key, value: {key: {"lt": value}},
    FilterOperator.LTE: lambda key, value: {key: {"lte": value}},
    FilterOperator.IN: lambda key, value: {key: _values(key, value)},
    FilterOperator.ANY: lambda key, value: {key: _values(key, value)},
    FilterOperator.NIN: lambda key, value: {"$not": {key: _values(key, value)}},
    FilterOperator.ALL: lambda key, value: {"$and": [{key: v} for v in _values(key, value)]},
}


def where_of(filters: MetadataFilters | None) -> Where | None:
    """Return the index's filter for LlamaIndex's filters; None if there is nothing to filter.

    Keys are metadata keys of the nodes, or "document_id" for the id of the source document and "id"
    for the id of the node. As in LlamaIndex, a node without the key matches only `!=` and `nin`.

    Raises:
        InputError: An operator is not supported (text_match, text_match_insensitive, is_empty), or
            a value cannot be compared.
    """
    if filters is None:
        return None
    if not isinstance(filters, MetadataFilters):
        raise InputError(
            f"`filters` must be MetadataFilters, got {shown(filters)}. Use "
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
        {"document_id": query.doc_ids} if query.doc_ids else None,
        {"id": query.node_ids} if query.node_ids else None,
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


def _part(part: MetadataFilter | MetadataFilters) -> Where | None:
    if isinstance(part, MetadataFilters):
        return where_of(part)
    condition = _CONDITIONS.get(part.operator)
    if condition is None:
        known = ", ".join(operator.value for operator in _CONDITIONS)
        raise InputError(
            f"Filter on {part.key!r}: an index does not support the operator "
            f"{part.operator.value!r}, only {known}. To search for words in the text, use the "
            "query mode text_search."
        )
    return condition(part.key, part.value)


def _values(key: str, value: object) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise InputError(f"Filter on {key!r}: this operator takes a list of values, got {value!r}.")
    return value
