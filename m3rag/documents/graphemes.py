"""Visible characters (grapheme clusters), and the cuts that would split one."""

from __future__ import annotations

import unicodedata

_ZWJ = "\u200d"
_VIRAMA = 9  # canonical combining class of the signs that join Indic consonants
_LOOK_BACK = 256


def tears(text: str, at: int) -> bool:
    """Return whether a cut before `text[at]` would split a visible character.

    Follows the extended grapheme clusters of Unicode (UAX #29) closely enough for cutting. Also
    keeps Indic conjuncts together, and Thai and Lao vowels that are written before a consonant.

    Args:
        text: Any text.
        at: A position with a character on both sides, `0 < at < len(text)`.
    """
    before, after = text[at - 1], text[at]
    if before < "\u0300" and after < "\u0300":
        return before == "\r" and after == "\n"
    return _joins_previous(after) or _joins_next(before, after) or _splits_flag(text, at)


def _joins_previous(after: str) -> bool:
    """Return whether a character belongs to the one before it.

    These are marks, joiners, emoji skin tones and tags, Hangul vowels and finals, and half-width
    voicing marks.
    """
    return (
        unicodedata.category(after) in ("Mn", "Mc", "Me")
        or after in "\u200c\u200d\u0e33\u0eb3\uff9e\uff9f"
        or "\U0001f3fb" <= after <= "\U0001f3ff"
        or "\U000e0020" <= after <= "\U000e007f"
        or "\u1160" <= after <= "\u11ff"
    )


def _joins_next(before: str, after: str) -> bool:
    """Return whether a character belongs to the one after it.

    These are joiners, viramas, Thai and Lao vowels written before a consonant, and Hangul initials.
    """
    return (
        before == _ZWJ
        or unicodedata.combining(before) == _VIRAMA
        or "\u0e40" <= before <= "\u0e44"
        or "\u0ec0" <= before <= "\u0ec4"
        or (
            "\u1100" <= before <= "\u115f"
            and ("\u1100" <= after <= "\u115f" or _is_hangul_syllable(after))
        )
    )


def _is_hangul_syllable(character: str) -> bool:
    return "\uac00" <= character <= "\ud7a3"


def _splits_flag(text: str, at: int) -> bool:
    """Return whether a cut would split a flag, which is a pair of regional indicators.

    An odd number of regional indicators precedes the middle of a flag.
    """
    if not _is_regional(text[at]):
        return False
    run = 0
    while run < min(at, _LOOK_BACK) and _is_regional(text[at - 1 - run]):
        run += 1
    return run % 2 == 1


def _is_regional(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
