"""LlamaIndex's metadata filters in the index's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)

from m3rag.errors import InputError
from m3rag.stores.filters import Where as AnyWhere

Where = dict[str, Any]
"""A filter of the index, as `parse_filter` takes it."""

_CONDITIONS: dict[FilterOperator, Callable[[str, Any], Where]] = {
    FilterOperator.EQ: lambda key, value: {key: value},
    FilterOperator.CONTAINS: lambda key, value: {key: value},  # of a list, an element is enough
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
    """The index's filter for LlamaIndex's; None if there is nothing to filter.

    A key is one of the nodes' metadata; "document_id" is the id of the source document, and "id"
    the node's own. A node without the key matches `!=` and `nin` only, as in LlamaIndex.

    Raises:
        InputError: an operator that the index has no match for (text_match,
            text_match_insensitive, is_empty), or a value that it cannot compare.
    """
    parts = [_part(each) for each in filters.filters] if filters is not None else []
    parts = [part for part in parts if part is not None]
    if filters is None or not parts:
        return None
    if filters.condition == FilterCondition.OR:
        return {"$or": parts}
    if filters.condition == FilterCondition.NOT:  # none of them
        return {"$not": {"$or": parts}}
    return {"$and": parts}


def where_of_query(query: VectorStoreQuery) -> Where | None:
    """The index's filter for all that a query restricts: metadata, documents, nodes."""
    parts = [
        where_of(query.filters),
        {"document_id": query.doc_ids} if query.doc_ids else None,
        {"id": query.node_ids} if query.node_ids else None,
    ]
    return all_of(*parts)


def all_of(*parts: AnyWhere) -> Where | None:
    """The filter that wants all of these."""
    said = [part for part in parts if part is not None]
    return {"$and": said} if said else None


def _part(each: MetadataFilter | MetadataFilters) -> Where | None:
    if isinstance(each, MetadataFilters):
        return where_of(each)
    condition = _CONDITIONS.get(each.operator)
    if condition is None:
        known = ", ".join(operator.value for operator in _CONDITIONS)
        raise InputError(
            f"Filter on {each.key!r}: an index cannot filter by {each.operator.value!r}; it has "
            f"{known}. To look for words in the text, query in the mode text_search."
        )
    return condition(each.key, each.value)


def _values(key: str, value: object) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise InputError(f"Filter on {key!r}: this operator takes a list of values, got {value!r}.")
    return value
