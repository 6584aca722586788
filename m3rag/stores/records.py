"""The small JSON records of an index, such as its manifest, with a checksum."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

RECORDS = ("m3rag.json", "presets.json")
"""The names of the records: the manifest, and the saved weights."""
NEXT = ".next"
"""The end of the name of the copy of a record that is being written."""
RECORD_BYTES = 16 << 20
"""The most bytes of a record; a larger file is none."""

_CHECKSUM = "checksum"


class DamagedRecordError(ValueError):
    """A record is not JSON, or its checksum is wrong."""


def pack(values: Mapping[str, Any]) -> bytes:
    """Return a record of these values."""
    checked = {**values, _CHECKSUM: _checksum(values)}
    return json.dumps(checked, ensure_ascii=False, indent=2).encode()


def parse(content: bytes) -> dict[str, Any]:
    """Return the values of a record with its checksum, which `verified` compares.

    Raises:
        DamagedRecordError: It is not a JSON object.
    """
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DamagedRecordError(f"it is not JSON: {str(error)[:200]}") from None
    if not isinstance(values, dict):
        raise DamagedRecordError(f"it is a JSON {type(values).__name__}, not an object")
    return values


def verified(values: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return the values without the checksum, and whether there is one; older versions wrote none.

    Raises:
        DamagedRecordError: The record was changed after it was written.
    """
    rest = dict(values)
    if not isinstance(rest.get(_CHECKSUM), str):
        return rest, False
    if rest.pop(_CHECKSUM) != _checksum(rest):
        raise DamagedRecordError("its checksum is wrong: it was damaged, or changed by hand")
    return rest, True


def _checksum(values: Mapping[str, Any]) -> str:
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return f"{zlib.crc32(canonical.encode()):08x}"
