"""Dates and times in ISO 8601, as filters compare them.

A value is a date ("2026-03-01") or a date with a time ("2026-03-01T10:30:00Z"), with "T" or a space
between them. A time without a zone is in UTC. A date is the beginning of its day as a value. As a
bound it is the whole day: the times of that day are not above it, and not below it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_LONGEST = 40  # characters
_ISO = re.compile(
    r"\d{4}-\d{2}-\d{2}"
    r"(?P<time>[T ]\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)?(Z|[+-]\d{2}(:?\d{2})?)?)?",
    re.ASCII | re.IGNORECASE,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY = 86_400_000_000


@lru_cache(4096)
def instant(text: str) -> int | None:
    """Return the microseconds from 1970 to a date or time; None if the text is neither."""
    match = _ISO.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:  # the 30th of February
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return (moment - _EPOCH) // _MICROSECOND


def interval(bounds: Mapping[str, float | str]) -> tuple[int, int]:
    """Return the first and the last microsecond within bounds that are dates.

    Args:
        bounds: "gt", "gte", "lt" or "lte", each a text that `instant` knows.
    """
    first, last = -(1 << 61), 1 << 61
    for bound, text in bounds.items():
        start = instant(str(text))
        assert start is not None  # the filter was checked
        end = start + _DAY - 1 if len(str(text)) == len("2026-03-01") else start
        if bound == "gt":
            first = max(first, end + 1)
        elif bound == "gte":
            first = max(first, start)
        elif bound == "lt":
            last = min(last, start - 1)
        else:
            last = min(last, end)
    return first, last
