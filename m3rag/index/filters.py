"""The names of `m3rag.stores.filters`, where 0.1 had them."""

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
