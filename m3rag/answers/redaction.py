"""Hides keys in texts that come from servers and libraries, and makes such texts fit to print."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import unquote

_MASK = "***"
_PART = 8
"""A part of a key is hidden if it has at least this many characters."""

# Texts are sampled at every fourth character. Wherever a part of a key starts, it contains the five
# characters from one of the samples on.
_STEP = 4
_SAMPLE = _PART - _STEP + 1

_SHOWN = 300
_SEARCHED = 8_192  # characters of a foreign text that are searched, of which 300 are excerpt

_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
_ESCAPE = re.compile(r"\\(?:u\{?00([0-9a-fA-F]{2})\}?|x([0-9a-fA-F]{2})|([/\"'\\]))")
_GAPS = re.compile("[\\s\u00ad\u200b-\u200f\u2060\ufeff]+")

# What looks like a key, whoever it belongs to.
_USERINFO = re.compile(r"(?<=://)[^/?#\s@]*+@")
_BEARER = re.compile(r"(?i)\b((?:bearer|basic)\s{1,9})([\w.~+/=-]{8,}+)")
_NAMED = re.compile(
    r"(?i)((?:key|token|secret|passw(?:or)?d|authorization)[\"']?\s{0,9}[:=]\s{0,9}(?:b?[\"'])?)"
    r"([^\s\"',;&}\]]++)"
)
_PREFIXED = re.compile(r"()\b((?:sk|pk|rk|gsk|hf|ghp|xai)[-_][\w-]{8,}+)")


class Redactor:
    """A function that replaces keys in a text by "***".

    It finds each key, its parts of at least 8 characters, its base64 and its hexadecimal form, in
    any case of the letters and also if they are escaped as in JSON, URLs or HTML, or broken by
    white space.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._keys = tuple(sorted({key for key in keys if key}, key=len, reverse=True))
        forms = {_folded(form) for key in self._keys for form in _forms(key)}
        self._whole = tuple(sorted((form for form in forms if len(form) < _PART), key=len))
        self._parts = frozenset(
            form[start : start + _PART] for form in forms for start in range(len(form) - _PART + 1)
        )
        self._samples = frozenset(
            part[at : at + _SAMPLE] for part in self._parts for at in range(_STEP)
        )

    @property
    def longest(self) -> int:
        """The most characters of a form of a key; 0 without keys."""
        return max((2 * len(key.encode(errors="surrogatepass")) for key in self._keys), default=0)

    def __call__(self, text: str) -> str:
        """Return a text of a server or a library without the keys, and without what looks so."""
        return _without_lookalikes(self._redacted(text, self._spans))

    def answer(self, text: str) -> str:
        """Return a written answer without the keys.

        A key of fewer than 8 characters without a digit, such as "ollama", is a placeholder and
        stays, and so does a plain word that is a part of a key, such as "required".
        """
        return self._redacted(text, self._spans_in_prose)

    def _redacted(self, text: str, spans: Callable[[str], Iterator[tuple[int, int]]]) -> str:
        if not self._keys:
            return text
        text = _masked(text, spans(text))
        plain = text
        for decode in (*_DECODERS, *_DECODERS, _joined):  # twice: an escape may itself be escaped
            decoded = decode(plain)
            if decoded != plain:
                plain = decoded
                if found := list(spans(plain)):
                    text = plain = _masked(plain, found)
        return text

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the spans of keys and their parts, ascending by start; they may overlap."""
        folded = _folded(text)
        found = []
        for near in range(0, len(folded), _STEP):
            if folded[near : near + _SAMPLE] in self._samples:
                for start in range(max(0, near - _STEP + 1), near + 1):
                    if folded[start : start + _PART] in self._parts:
                        found.append((start, start + _PART))
        for form in self._whole:
            start = folded.find(form)
            while start >= 0:
                found.append((start, start + len(form)))
                start = folded.find(form, start + len(form))
        yield from sorted(found) if self._whole else found

    def _spans_in_prose(self, text: str) -> Iterator[tuple[int, int]]:
        for start, end in _merged(self._spans(text)):
            found = text[start:end]
            whole = any(_folded(key) in _folded(found) for key in self._keys if _secret(key))
            part = len(found) >= _PART and not (found.isalpha() and found[1:].islower())
            if whole or part:
                yield start, end


def excerpt(text: str, redact: Callable[[str], str], most: int = _SHOWN) -> str:
    """Return the beginning of a foreign text on one line, without keys and control characters."""
    cut = valid(text[:_SEARCHED])
    line = " ".join(redact(cut).split())
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    return line if len(line) <= most and len(text) <= _SEARCHED else f"{line[:most]}…"


def valid(text: str) -> str:
    """Return the text as valid Unicode: U+FFFD replaces each surrogate that is not in a pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _forms(key: str) -> Iterator[str]:
    """Yield a key, its base64 at any position of a longer text, and its hexadecimal form."""
    yield key
    data = key.encode("utf-8", "surrogatepass")
    if len(data) < 3:
        return
    yield data.hex()
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data)
        first = (before * 8 + 5) // 6  # the first character that depends on the key alone
        last = (before + len(data)) * 8 // 6
        form = encoded[first:last].decode()
        yield form
        yield form.translate({ord("+"): "-", ord("/"): "_"})


def _folded(text: str) -> str:
    return text.translate(_ASCII_LOWER)


def _secret(key: str) -> bool:
    return len(key) >= _PART or (len(key) >= 6 and any(map(str.isdigit, key)))


def _merged(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the spans, which are ascending by start, with those that overlap or touch as one."""
    first, last = -1, -1
    for start, end in spans:
        if start > last:
            if last > first:
                yield first, last
            first = start
        last = max(last, end)
    if last > first:
        yield first, last


def _masked(text: str, spans: Iterable[tuple[int, int]]) -> str:
    pieces = []
    done = 0
    for start, end in _merged(spans):
        pieces += [text[done:start], _MASK]
        done = end
    return "".join((*pieces, text[done:])) if pieces else text


def _without_lookalikes(text: str) -> str:
    """Return the text without user names in URLs and values that look like keys."""
    text = _USERINFO.sub(f"{_MASK}@", text)
    for pattern in (_BEARER, _NAMED, _PREFIXED):
        text = pattern.sub(_hide_if_random, text)
    return text


def _hide_if_random(match: re.Match[str]) -> str:
    value = match[2]
    random = len(value) >= _PART and any(map(str.isdigit, value))
    return match[1] + _MASK if random else match[0]


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda m: m[3] or chr(int(m[1] or m[2], 16)), text)


def _joined(text: str) -> str:
    return _GAPS.sub("", text)


_DECODERS = (_unescaped, unquote, html.unescape)
