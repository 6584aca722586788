"""Stores: where an index keeps its points and scores them; see `m3rag.stores.base`."""

from typing import TYPE_CHECKING

from m3rag.extras import lazy

if TYPE_CHECKING:
    from m3rag.stores.base import Candidates, Location, Points, QueryPlan, Store, Widths
    from m3rag.stores.location import locate

__all__ = ["Candidates", "Location", "Points", "QueryPlan", "Store", "Widths", "locate"]

_BASE = "m3rag.stores.base"

__getattr__ = lazy(
    __name__,
    {
        "Candidates": _BASE,
        "Location": _BASE,
        "Points": _BASE,
        "QueryPlan": _BASE,
        "Store": _BASE,
        "Widths": _BASE,
        "locate": "m3rag.stores.location",
    },
)
