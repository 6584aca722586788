"""Queries of a language model as filters, for LangChain's `SelfQueryRetriever`."""

from __future__ import annotations

from typing import Any

from langchain_core.structured_query import (
    Comparator,
    Comparison,
    Operation,
    Operator,
    StructuredQuery,
    Visitor,
)


class M3Translator(Visitor):
    """A translator of structured queries, for `SelfQueryRetriever.from_llm`.

    "contain" matches an element of a list or whole words of a text, "like" a pattern with % and _.

    Example:
        >>> where = Comparison(comparator=Comparator.GTE, attribute="year", value=2020)
        >>> M3Translator().visit_comparison(where)
        {'year': {'gte': 2020}}
    """

    allowed_comparators = tuple(Comparator)
    allowed_operators = tuple(Operator)

    def visit_operation(self, operation: Operation) -> dict[str, Any]:
        """Return the filter of an operation."""
        parts = [argument.accept(self) for argument in operation.arguments]
        return {f"${operation.operator.value}": parts}

    def visit_comparison(self, comparison: Comparison) -> dict[str, Any]:
        """Return the filter of a comparison."""
        field, value = comparison.attribute, _value(comparison.value)
        if comparison.comparator is not Comparator.CONTAIN:
            return {field: {comparison.comparator.value: value}}
        element = {field: {"eq": value}}
        return {"$or": [element, {field: {"text": value}}]} if isinstance(value, str) else element

    def visit_structured_query(
        self, structured_query: StructuredQuery
    ) -> tuple[str, dict[str, Any]]:
        """Return the text to search for, and the arguments of a search with the filter."""
        where = structured_query.filter
        return structured_query.query, {} if where is None else {"filter": where.accept(self)}


def _value(value: object) -> Any:
    """Return a value; a date of LangChain's parser is a dict with its type."""
    if isinstance(value, dict) and value.get("type") in ("date", "datetime"):
        return value[value["type"]]
    return [_value(item) for item in value] if isinstance(value, list | tuple) else value
