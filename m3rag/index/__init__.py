"""The index, which stores passages and searches them.

Names are imported on first use, so that importing the package loads no model.
"""

from typing import TYPE_CHECKING

from m3rag.extras import lazy

if TYPE_CHECKING:
    from m3rag.explanation import Explanation, explain
    from m3rag.index.hit import Hit
    from m3rag.index.index import M3Index
    from m3rag.index.pooling import Query
    from m3rag.index.presets import Preset
    from m3rag.index.settings import SearchSettings
    from m3rag.index.upsert import Upserted
    from m3rag.stores.base import Candidates, Points, QueryPlan, Store
    from m3rag.stores.filters import Filter, matches, parse_filter

__all__ = [
    "Candidates",
    "Explanation",
    "Filter",
    "Hit",
    "M3Index",
    "Points",
    "Preset",
    "Query",
    "QueryPlan",
    "SearchSettings",
    "Store",
    "Upserted",
    "explain",
    "matches",
    "parse_filter",
]

__getattr__ = lazy(
    __name__,
    {
        "Candidates": "m3rag.stores.base",
        "Explanation": "m3rag.explanation",
        "Filter": "m3rag.stores.filters",
        "Hit": "m3rag.index.hit",
        "M3Index": "m3rag.index.index",
        "Points": "m3rag.stores.base",
        "Preset": "m3rag.index.presets",
        "Query": "m3rag.index.pooling",
        "QueryPlan": "m3rag.stores.base",
        "SearchSettings": "m3rag.index.settings",
        "Store": "m3rag.stores.base",
        "Upserted": "m3rag.index.upsert",
        "explain": "m3rag.explanation",
        "matches": "m3rag.stores.filters",
        "parse_filter": "m3rag.stores.filters",
    },
)
