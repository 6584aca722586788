"""HTML pages that commands write."""

from __future__ import annotations

from pathlib import Path

from m3rag.errors import InputError


def write_page(path: Path, content: str) -> None:
    """Write a page.

    Raises:
        InputError: it cannot be written there.
    """
    try:
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from None
