r"""Decoding text files: by their byte order mark, as declared, or as UTF-8, without guessing."""

from __future__ import annotations

import codecs
import io

from m3rag.errors import DocumentError
from m3rag.limits import Limits

# Longest first: the byte order mark of UTF-32 starts with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
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
_CHUNK = 1 << 20  # bytes to decode at a time


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


def decode(data: bytes, declared: str | None, limits: Limits) -> str:
    r"""Return a file's text, with "\n" as its only line end.

    Args:
        data: The content of the file.
        declared: The encoding if there is no byte order mark; None means UTF-8.
        limits: `text_characters` is the most characters.

    Raises:
        DocumentError: The bytes are not text in that encoding, or the text is too long.
    """
    mark, encoding = next(
        ((mark, name) for mark, name in _MARKS if data.startswith(mark)), (b"", declared or "utf-8")
    )
    decoder = codecs.getincrementaldecoder(encoding)()
    lines = io.IncrementalNewlineDecoder(decoder, translate=True)
    view = memoryview(data)[len(mark) :]
    parts: list[str] = []
    length = 0
    for start in range(0, max(len(view), 1), _CHUNK):
        last = start + _CHUNK >= len(view)
        waiting = len(decoder.getstate()[0])  # bytes of a character that started in the last piece
        try:
            part = lines.decode(bytes(view[start : start + _CHUNK]), final=last)
        except UnicodeError as error:
            place = getattr(error, "start", 0) + start - waiting + len(mark)
            raise DocumentError(
                f"byte {place} is not {encoding.upper()}. Save the file as UTF-8, for example with "
                "`iconv -f WINDOWS-1252 -t UTF-8 old > new`."
            ) from error
        if (at := part.find("\0")) >= 0:
            raise DocumentError(
                f"character {length + at} is NUL, so it is a binary file, or UTF-16 without a byte "
                "order mark. Convert it to UTF-8 text."
            )
        parts.append(part)
        length += len(part)
        check_length(length, limits)
    return "".join(parts)


def check_length(characters: int, limits: Limits) -> None:
    """Check the length of a document's text.

    Raises:
        DocumentError: It is above the limit.
    """
    if characters > limits.text_characters:
        raise DocumentError(
            f"its text has more than {limits.text_characters:,} characters. Split it, or raise the "
            "limit: Limits(text_characters=…)."
        )
