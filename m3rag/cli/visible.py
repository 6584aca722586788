r"""Text from outside m3rag, made safe to show: data stays data.

File names, passages, answers and error messages may hold escape sequences that take over a
terminal, line breaks that forge a line of output, characters that reorder it, and halves of
characters that no encoding accepts. They are shown as escapes such as `\x1b`, `\n` and `\u202e`; a
byte of a file name that is not UTF-8 is shown as `\xff`.

Invisible characters that a script needs are kept beside letters of such a script: joiners in
Persian, in the scripts of India and in emoji, word breaks in Thai and Khmer, and direction marks in
Arabic and Hebrew.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate

SHOWN = 2_000  # characters of one line that are shown
_END = 400  # of these, the characters at its end

_JOINING = (
    "\u0620-\u085f\u08a0-\u109f\u1780-\u180a\u1810-\u18af\u1900-\u1cff\ua800-\uabff"
    "\ufb50-\ufdcf\ufdf0-\ufdff\ufe70-\ufefc\U00010a00-\U00011fff\U0001e900-\U0001e95f"
)
_EMOJI = "\u2190-\u2bff\u3030\u303d\u3297\u3299\ufe0f\U0001f000-\U0001faff"
_RIGHT_TO_LEFT = (
    "\u05be-\u05f4\u0620-\u08ff\ufb1d-\ufdcf\ufdf0-\ufdff\ufe70-\ufefc"
    "\U00010800-\U00010fff\U0001e800-\U0001efff"
)
_IDEOGRAPHS = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"

# A flag of a region, such as Scotland's: the only good use of invisible tags.
_FLAG = "\U0001f3f4[\U000e0030-\U000e007a]{2,6}\U000e007f"
# Controls (DEL and C1 too), line separators, bidi embeddings, overrides and isolates, invisible
# operators, the byte order mark, annotations, tags, surrogates, and what is not a character.
_NEVER = (
    "\x7f-\x9f\u180e\u2028\u2029\u202a-\u202e\u2060-\u206f\ufdd0-\ufdef\ufeff\ufff9-\ufffb"
    "\ufffe\uffff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff"
    "\ud800-\udfff"
)
# What looks like nothing or like a space, so that two names look the same.
_BLANK = "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"
_MISPLACED = (
    f"(?<![{_JOINING}{_EMOJI}])[\u200b-\u200d](?![{_JOINING}{_EMOJI}])"
    f"|(?<![{_RIGHT_TO_LEFT}])[\u061c\u200e\u200f](?![{_RIGHT_TO_LEFT}])"
    "|(?<=[\ufe00-\ufe0f])[\ufe00-\ufe0f]"
    f"|(?<![{_IDEOGRAPHS}])[\U000e0100-\U000e01ef]"
)
_IN_BLOCK = re.compile(f"{_FLAG}|[\x00-\x08\x0b-\x1f{_NEVER}]|{_MISPLACED}")
_IN_LINE = re.compile(f"{_FLAG}|[\x00-\x1f{_NEVER}{_BLANK}]|{_MISPLACED}")
_ASCII_CONTROL = re.compile("[\x00-\x1f\x7f]")
_NAMES = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}


def line(text: object, *, most: int = SHOWN) -> str:
    """Return a text for one line of output: no line break, and at most `most` characters of it."""
    shown = str(text)
    if len(shown) > most:
        end = min(_END, most // 2)
        shown = f"{shown[: most - end]} … {shown[-end:]}"
    if shown.isascii() and not _ASCII_CONTROL.search(shown):
        return shown
    return _IN_LINE.sub(_escape, shown)


def block(text: str) -> str:
    """Return a text for several lines of output: line breaks (also CR LF) and tabs are kept."""
    return marked_block(text)[0]


def marked_block(text: str) -> tuple[str, Callable[[int], int]]:
    """Return a text for several lines, and the function from places in the text to the result."""
    ends: list[int] = []  # of the characters that are replaced
    added: list[int] = []  # characters by which each replacement is longer, or shorter

    def replace(match: re.Match[str]) -> str:
        crlf = match[0] == "\r" and text.startswith("\n", match.end())
        shown = "" if crlf else _escape(match)
        if shown != match[0]:
            ends.append(match.end())
            added.append(len(shown) - len(match[0]))
        return shown

    shown = _IN_BLOCK.sub(replace, text)
    shifts = [0, *accumulate(added)]
    return shown, lambda place: place + shifts[bisect_left(ends, place + 1)]


def json_escaped(text: str) -> str:
    r"""Return JSON with the same value in which unsafe characters are written as `\uXXXX`."""
    if text.isascii() and "\x7f" not in text:
        return text
    return _IN_BLOCK.sub(lambda match: _each(match, _json_code), text)


def _escape(match: re.Match[str]) -> str:
    return _each(match, _code)


def _each(match: re.Match[str], code: Callable[[str], str]) -> str:
    found = match[0]
    return found if len(found) > 1 else code(found)  # more than one: a flag


def _code(character: str) -> str:
    number = ord(character)
    if character in _NAMES:
        return _NAMES[character]
    if 0xDC80 <= number <= 0xDCFF:  # Python's form of a byte that is not UTF-8
        number -= 0xDC00
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _json_code(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
