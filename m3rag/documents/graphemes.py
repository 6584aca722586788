"""Characters as readers see them: where a cut would tear one apart."""

from __future__ import annotations

import unicodedata

_ZWJ = "\u200d"
_VIRAMA = 9  # canonical combining class of the signs that join Indic consonants
_LOOK_BACK = 256


def tears(text: str, at: int) -> bool:
    """Says whether a cut before `text[at]` would tear one visible character apart.

    Follows the extended grapheme clusters of Unicode (UAX #29) closely enough for cutting, and
    keeps Indic conjuncts and the Thai and Lao vowels that are written first together as well.

    Args:
        text: any text.
        at: a position with a character on both sides, `0 < at < len(text)`.
    """
    before, after = text[at - 1], text[at]
    if before < "\u0300" and after < "\u0300":
        return before == "\r" and after == "\n"
    return _leans_back(after) or _leans_forward(before, after) or _halves_flag(text, at)


def _leans_back(after: str) -> bool:
    """Marks, joiners, emoji skin tones and tags, Hangul vowels and finals, half-width voicing."""
    return (
        unicodedata.category(after) in ("Mn", "Mc", "Me")
        or after in "\u200c\u200d\u0e33\u0eb3\uff9e\uff9f"
        or "\U0001f3fb" <= after <= "\U0001f3ff"
        or "\U000e0020" <= after <= "\U000e007f"
        or "\u1160" <= after <= "\u11ff"
    )


def _leans_forward(before: str, after: str) -> bool:
    """Joiners, viramas, Thai and Lao vowels written first, Hangul initials."""
    return (
        before == _ZWJ
        or unicodedata.combining(before) == _VIRAMA
        or "\u0e40" <= before <= "\u0e44"
        or "\u0ec0" <= before <= "\u0ec4"
        or ("\u1100" <= before <= "\u115f" and ("\u1100" <= after <= "\u115f" or _syllable(after)))
    )


def _syllable(character: str) -> bool:
    return "\uac00" <= character <= "\ud7a3"


def _halves_flag(text: str, at: int) -> bool:
    """A flag is a pair of regional indicators: an odd number of them stands before its middle."""
    if not _regional(text[at]):
        return False
    run = 0
    while run < min(at, _LOOK_BACK) and _regional(text[at - 1 - run]):
        run += 1
    return run % 2 == 1


def _regional(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
