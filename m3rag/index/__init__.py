"""Passages to hits: the index and its stores.

Names are imported when first used: the engine process lives in this package, and needs no model.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from m3rag.index.explanation import Explanation, explain
    from m3rag.index.filters import Filter, matches, parse_filter
    from m3rag.index.hit import Hit
    from m3rag.index.index import M3Index
    from m3rag.index.plan import Candidates, Points, QueryPlan, Store

_HOMES = {
    "Candidates": "m3rag.index.plan",
    "Explanation": "m3rag.index.explanation",
    "Filter": "m3rag.index.filters",
    "Hit": "m3rag.index.hit",
    "M3Index": "m3rag.index.index",
    "Points": "m3rag.index.plan",
    "QueryPlan": "m3rag.index.plan",
    "Store": "m3rag.index.plan",
    "explain": "m3rag.index.explanation",
    "matches": "m3rag.index.filters",
    "parse_filter": "m3rag.index.filters",
}

__all__ = [
    "Candidates",
    "Explanation",
    "Filter",
    "Hit",
    "M3Index",
    "Points",
    "QueryPlan",
    "Store",
    "explain",
    "matches",
    "parse_filter",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
