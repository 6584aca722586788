"""Memories that expire: the metadata that say when, and the filters that look at them.

"ttl" is the number of minutes that a passage lives, and "expires" the time at which it ends, in
seconds since 1970. A passage without them lives for ever.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from m3rag.errors import InputError
from m3rag.index.index import M3Index
from m3rag.limits import is_number, shown


def check_minutes(name: str, minutes: object) -> None:
    """Check a time to live.

    Args:
        name: The name of the argument, for the error.
        minutes: The minutes; None for a passage that lives for ever.

    Raises:
        InputError: It is not a number above 0.
    """
    if minutes is not None and not (is_number(minutes) and 0 < minutes < math.inf):
        raise InputError(
            f"`{name}` must be a number of minutes above 0, or None, got {shown(minutes)}."
        )


def expiry(minutes: float | None, now: float) -> dict[str, float]:
    """Return the entries of metadata for a time to live that begins now; none for None."""
    return {} if minutes is None else {"ttl": minutes, "expires": now + 60 * minutes}


def renewed(metadata: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Return metadata whose time to live, if they have one, begins again."""
    return {**metadata, **expiry(metadata.get("ttl"), now)}


def renew(index: M3Index, documents: Sequence[str | None], now: float) -> None:
    """Let the time to live of documents' passages begin again, if they have one."""
    index.update_metadata(
        lambda passage: renewed(passage.metadata, now), filter={"$document_id": [*documents]}
    )


def expired(now: float) -> dict[str, Any]:
    """Return the filter of passages whose time is over."""
    return {"expires": {"lte": now}}


def living(now: float) -> dict[str, Any]:
    """Return the filter of passages whose time is not over."""
    return {"$not": expired(now)}
