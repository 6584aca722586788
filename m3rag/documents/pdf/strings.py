"""Strings that PDFium writes into a buffer."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import pypdfium2.raw as pdfium

_MOST = 1 << 20  # bytes


def string_of(function: Callable[..., int], *arguments: Any) -> str:
    """Return what a function of PDFium writes into a buffer as UTF-16; U+FFFD for what is none."""
    size = min(function(*arguments, None, 0), _MOST)
    if size <= 2:
        return ""
    buffer = ctypes.create_string_buffer(size)
    function(*arguments, ctypes.cast(buffer, ctypes.POINTER(pdfium.FPDF_WCHAR)), size)
    text = buffer.raw[:size].decode("utf-16-le", "replace").rstrip("\0")
    return text.replace("\r\n", "\n").replace("\r", "\n")
