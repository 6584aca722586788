"""Broken copies of documents: bytes, numbers and pieces changed, cut, repeated and inserted."""

from __future__ import annotations

import io
import random
import re
import zipfile
from collections.abc import Callable


def mutated(rng: random.Random, data: bytes, suffix: str) -> bytes:
    """Return a broken copy of a file."""
    if data.startswith(b"PK") and rng.random() < 0.7:
        return with_parts(data, lambda part: _broken(rng, part) if rng.random() < 0.3 else part)
    return _broken(rng, data)


def _broken(rng: random.Random, data: bytes) -> bytes:
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        data = rng.choice(_MUTATIONS)(rng, data)
    return data


def _flip(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice([1, 3, 30])):
        if out:
            out[rng.randrange(len(out))] = rng.randrange(256)
    return bytes(out)


def _cut(rng: random.Random, data: bytes) -> bytes:
    start, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:start] if rng.random() < 0.3 else data[:start] + data[end:]


def _repeat(rng: random.Random, data: bytes) -> bytes:
    start = rng.randrange(len(data) + 1)
    piece = data[start : start + rng.choice([1, 8, 60, 500])]
    times = rng.choice([2, 100, 5_000])
    return data[:start] + piece * min(times, 2_000_000 // max(len(piece), 1)) + data[start:]


def _number(rng: random.Random, data: bytes) -> bytes:
    numbers = list(re.finditer(rb"-?[0-9]+", data))
    if not numbers:
        return data
    found = rng.choice(numbers)
    new = rng.choice([b"0", b"-1", b"1", b"4294967295", b"9" * 30, b"9" * 5_000, b"1e400", b"nan"])
    return data[: found.start()] + new + data[found.end() :]


def _insert(rng: random.Random, data: bytes) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + rng.choice(_PIECES) + data[start:]


_MUTATIONS = (_flip, _cut, _repeat, _number, _insert)
_PIECES = (
    b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"&#xD800;", b"&#0;", b"&amp;" * 500,
    b"<![CDATA[", b"]]>", b"<!--", b"-->", b"<table>" * 200, b"</p>" * 200, b"<w:p>" * 100,
    b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"\n```\n", b"[" * 500, b"> " * 500, b"***" * 500,
    b"endstream endobj", b"<<" * 300, b"[" * 300 + b"]" * 300, b"1 0 R", b"2 0 R", b"(" * 300,
    b"/Kids[2 0 R]", b"/Filter[" + b"/FlateDecode" * 20 + b"]", b"%%EOF", b"trailer<</Prev 0>>",
    "\u202e\u0301\u200d\U0001f1e9".encode() * 300, b"\x1b[2J\x1b]0;x\x07", b"\r", b"\x0b\x0c\x85",
)  # fmt: skip


def with_parts(data: bytes, change: Callable[[bytes], bytes], only: str | None = None) -> bytes:
    """Return a .docx file in which parts are changed."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as old,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            part = old.read(name)
            new.writestr(name, change(part) if only in (None, name) else part)
    return out.getvalue()
