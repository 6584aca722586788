"""Queries of a language model as filters, for LangChain's `SelfQueryRetriever`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from langchain_core.structured_query import (
    Comparator,
    Comparison,
    FilterDirective,
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
        """Return the text to search for, and the arguments of a search with the filter.

        Where a question is nothing but a filter ("all of 2024"), its words are the text: what
        passes the filter must be ranked by something, and an empty query finds nothing.
        """
        where = structured_query.filter
        if where is None:
            return structured_query.query, {}
        text = structured_query.query.strip() or " ".join(_words(where))
        return text, {"filter": where.accept(self)}


def _words(where: FilterDirective) -> Iterator[str]:
    if isinstance(where, Operation):
        for argument in where.arguments:
            yield from _words(argument)
    elif isinstance(where, Comparison):
        value = _value(where.value)
        yield from map(str, [where.attribute, *(value if isinstance(value, list) else [value])])


def _value(value: object) -> Any:
    """Return a value; a date of LangChain's parser is a dict with its type."""
    if isinstance(value, dict) and value.get("type") in ("date", "datetime"):
        return value[value["type"]]
    return [_value(item) for item in value] if isinstance(value, list | tuple) else value
