"""Old import path of the names in `m3rag.stores.filters`, kept for code written for 0.1."""

from m3rag.stores.filters import (
    And,
    Equals,
    Filter,
    In,
    Not,
    Or,
    Range,
    filter_to_dict,
    matches,
    parse_filter,
)

__all__ = [
    "And",
    "Equals",
    "Filter",
    "In",
    "Not",
    "Or",
    "Range",
    "filter_to_dict",
    "matches",
    "parse_filter",
]
