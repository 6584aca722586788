"""Encodings: what their names mean, and which one a file without a name may have."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections import Counter
from importlib.util import find_spec
from typing import NamedTuple

# Python's codecs also include transformations such as unicode_escape, which makes surrogates, and
# punycode, which takes quadratic time. These are the ones that are encodings of real pages.
_NAMES = (
    "cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 "
    "iso8859-2 iso8859-3 iso8859-4 iso8859-5 iso8859-6 iso8859-7 iso8859-8 iso8859-9 iso8859-10 "
    "iso8859-11 iso8859-13 iso8859-14 iso8859-15 iso8859-16 koi8-r koi8-u koi8-t kz1048 ptcp154 "
    "mac-roman mac-cyrillic mac-greek mac-latin2 mac-turkish mac-iceland tis-620 cp874 "
    "cp437 cp720 cp737 cp775 cp850 cp852 cp855 cp857 cp858 cp860 cp861 cp862 cp863 cp864 cp865 "
    "cp866 cp869 cp1125 gb2312 gbk gb18030 hz big5 big5hkscs cp950 "
    "euc_jp euc_jis_2004 euc_jisx0213 shift_jis shift_jis_2004 shift_jisx0213 cp932 iso2022_jp "
    "iso2022_jp_1 iso2022_jp_2 iso2022_jp_2004 iso2022_jp_3 iso2022_jp_ext "
    "euc_kr cp949 johab iso2022_kr"
)
_ENCODINGS = frozenset(_NAMES.split())
# To browsers, some encodings are a larger one: pages that say "GB2312" are GB18030. The keys are
# also names of Python's codecs, for their many aliases.
_LARGER = {
    "cp1252": "ascii us-ascii iso8859-1 iso-8859-1 latin1 windows-1252 cp819 ibm819",
    "cp1254": "iso8859-9 iso-8859-9 latin5 windows-1254",
    "cp874": "tis-620 iso8859-11 iso-8859-11 dos-874 windows-874",
    "gb18030": "gb2312 gbk hz-gb-2312 gb_2312-80 chinese iso-ir-58 x-gbk csgb2312",
    "cp949": "euc_kr euc-kr ks_c_5601-1987 ks_c_5601-1989 ksc5601 ksc_5601 korean iso-ir-149 "
    "windows-949 cseuckr csksc56011987",
    "cp932": "shift_jis shift-jis sjis x-sjis ms_kanji ms932 windows-31j csshiftjis",
    "big5hkscs": "big5 big5-hkscs cn-big5 csbig5 x-x-big5",
    "euc_jp": "x-euc-jp cseucpkdfmtjapanese",
    "koi8-u": "koi8-ru",
    "cp866": "csibm866",
    "mac-cyrillic": "x-mac-cyrillic x-mac-ukrainian",
    "mac-roman": "macintosh x-mac-roman csmacintosh",
    "iso8859-8": "iso-8859-8-e iso-8859-8-i logical visual",
}
_CODE_PAGES = {f"x-cp{n}": f"cp{n}" for n in range(1250, 1259)}
_LABELS = {label: codec for codec, labels in _LARGER.items() for label in labels.split()}
_LABELS |= _CODE_PAGES

_UTF_16 = {"utf-16-le": 1, "utf-16-be": 0}  # the byte of a Latin letter that is NUL
_SAMPLE = 20_000  # bytes
_EXCERPT = 40  # characters
_LEAST = 8  # characters that can tell UTF-16 from a binary file
_CONTROL = re.compile("[\0-\x08\x0e-\x1f\ufffe\uffff]")
_WHITE = str.maketrans("\t\n\r\f", "    ")
_NULS, _STRAYS = 0.3, 0.02  # shares of bytes that are NUL: of the one kind, and of the other
_ASCII = 0.75  # the share of bytes of a binary file that are ASCII; of CJK in UTF-16 it is half


class Proposal(NamedTuple):
    """An encoding that a file may have.

    Attributes:
        name: Its name.
        excerpt: How the file reads in it.
    """

    name: str
    excerpt: str


def declared_encoding(data: bytes) -> str | None:
    """Return the encoding that an HTML page declares; None for UTF-8 and for unknown ones."""
    from bs4.dammit import EncodingDetector

    return codec_of(EncodingDetector.find_declared_encoding(data, is_html=True) or "utf-8")


def codec_of(name: str) -> str | None:
    """Return Python's codec for the name of an encoding; None for UTF-8 and unknown ones.

    The names mean what they mean to browsers (the WHATWG Encoding Standard). A declaration of
    UTF-16 is wrong: in UTF-16, the declaration itself could not have been read as bytes.
    """
    label = name.strip().lower()
    if label in _LABELS:
        return _LABELS[label]
    try:
        codec = codecs.lookup(label).name
    except (LookupError, ValueError):  # ValueError: the name has a NUL
        return None
    codec = _LABELS.get(codec, codec)
    return codec if codec in _ENCODINGS else None


def known_encoding(name: str) -> str | None:
    """Return Python's codec for an encoding that a person names; None if it is unknown."""
    label = name.strip().lower().replace("_", "-")
    if label in ("utf-16", "utf-16le", "utf-16-le", "utf-16be", "utf-16-be"):
        return "utf-16-be" if "be" in label else "utf-16-le"
    return "utf-8" if label in ("utf-8", "utf8") else codec_of(name)


def unmarked_utf_16(data: bytes) -> str | None:
    """Return the codec of UTF-16 without a byte order mark, if the text must be in it.

    A text in any other encoding has no NUL. In UTF-16, one byte of each space, digit and Latin
    letter is NUL, always the first or always the second.
    """
    sample = data[: _SAMPLE & ~1]
    half = len(sample) // 2
    if half < _LEAST or len(data) % 2:
        return None
    nuls = {name: sample[odd::2].count(0) for name, odd in _UTF_16.items()}
    name = max(nuls, key=nuls.__getitem__)
    most, least = nuls[name] / half, min(nuls.values()) / half
    text = sample.decode(name, "replace")
    if most >= _NULS and least <= _STRAYS:
        return None if _CONTROL.search(text) else name
    if sum(32 <= byte < 127 for byte in sample) > _ASCII * len(sample):
        return None
    return name if most > least and _is_text(text) else None  # U+6700 has a NUL of the other kind


def _is_text(text: str) -> bool:
    """Return whether a text has only characters that Unicode assigns, but for one at its end."""
    kinds = Counter(map(unicodedata.category, text[:-1].translate(_WHITE)))
    return not any(kinds[kind] for kind in ("Cc", "Cn", "Co", "Cs")) and "\ufffd" not in text[:-1]


def proposed(data: bytes, place: int) -> Proposal | None:
    """Return the encoding that reads best of those that can read a file at all.

    Args:
        data: The file, which is not UTF-8.
        place: The first byte that is not.
    """
    if find_spec("charset_normalizer") is None:
        return None
    from charset_normalizer import from_bytes

    start = max(place - _SAMPLE // 4, 0)
    sample = data[start : start + _SAMPLE]
    best = from_bytes(sample, cp_exclusion=["utf_8", "ascii"]).best()
    name = codec_of(best.encoding.replace("_", "-")) if best is not None else None
    if best is None or name is None or best.encoding.startswith("utf"):
        return None
    text = sample.decode(name, "replace")
    before = len(data[start:place].decode(name, "replace"))
    begin = max(text.rfind(" ", 0, before), text.rfind("\n", 0, before), before - _EXCERPT // 2) + 1
    seen = (c if c.isprintable() else " " for c in text[begin : begin + _EXCERPT])
    excerpt = " ".join("".join(seen).split())
    return Proposal(name, excerpt) if excerpt else None
