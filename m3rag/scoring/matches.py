"""Which tokens of a query a passage has, and how much each of them counts."""

from __future__ import annotations

from collections.abc import Mapping

Match = tuple[int, float, float]
"""A token id, its weight in the query, its weight in the passage."""


def matched_tokens(query: Mapping[int, float], passage: Mapping[int, float]) -> list[Match]:
    """The tokens both sparse views have, the largest product of weights first.

    The products add up to the sparse score; equal ones are in the order of their token ids.
    """
    common = [(t, w, passage[t]) for t, w in query.items() if t in passage]
    return sorted(common, key=lambda match: (-match[1] * match[2], match[0]))
