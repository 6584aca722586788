r"""LaTeX (.tex): the text without its markup; formulas stay as they are written.

The parser is a reader of the usual commands. pylatexenc 2.11, the library for this format, leaves
out code, writes headings in capitals, fails on unclosed braces and takes 12 times as long
(measured). A command that is unknown is dropped, and its arguments in braces are kept. Commands
that a document defines are not expanded.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from m3rag.documents.decoding import check_length
from m3rag.documents.formats.content import UNLIMITED, Budget, Content, Writer
from m3rag.documents.formats.tex_commands import (
    ACCENTS,
    DROPPED,
    KEPT_ENVIRONMENTS,
    LINKED,
    LISTS,
    SECTIONS,
    SYMBOLS,
    TABLES,
)
from m3rag.documents.plain_text import table_text

_COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)%[^\n]*(?:\n[ \t]*)?")
_TOKEN = re.compile(
    r"\\(?P<word>[a-zA-Z@]+)\*?[ \t]*|\\(?P<sign>[^a-zA-Z@])|(?P<math>\$\$?)|(?P<brace>[{}])"
    r"|(?P<gap>[ \t]*\n(?:[ \t]*\n)+[ \t]*)|(?P<mark>~|---?|``|''|&)|(?P<space>[ \t]*\n[ \t]*)"
    r"|(?P<plain>[^\\${}~&`'\s-]+|.)",
    re.DOTALL,
)
_MARKS = {"~": " ", "--": "–", "---": "—", "``": "“", "''": "”", "&": " | "}
_ARGUMENT = re.compile(r"\s*(?:\[(?P<option>[^\]]*)\]|(?P<open>\{))")
_HEADING = "\ue5a0"  # starts the paragraph of a heading, before its level
_VERBATIM, _VERBATIM_END = "\ue5a1", "\ue5a2"  # around the number of a block of code
_PRIVATE = re.compile(f"[{_HEADING}-{_VERBATIM_END}]")
_CODE = re.compile(
    r"\\begin\{(?P<name>(?:verbatim|lstlisting|minted|alltt|comment)\*?)\}(?:\[[^\]\n]*\])?(?:\{\w*\})?\n?"
)
_ITEM = re.compile(r" *(?:-|\d+\.) ")
_CELLS, _ROWS = re.compile(r"(?<!\\)&"), re.compile(r"\\\\(?:\[[^\]]*\])?")
_DEEPEST = 50


def parse(text: str, budget: Budget = UNLIMITED) -> Content:
    """Return the text of a document, after its preamble."""
    uncoded, code = _without_code(_PRIVATE.sub("\ufffd", text))
    source = _COMMENT.sub(r"\1", uncoded)
    _, begun, body = source.partition("\\begin{document}")
    reader = _Reader(body.partition("\\end{document}")[0] if begun else source)
    title = _named(source, "title")
    writer = Writer()
    if "\\maketitle" in reader.source and title:
        writer.heading(1, title)
    deeper = bool(writer.headings) + ("\\chapter" in reader.source)
    for block in re.split(r"\n{2,}", reader.text()):
        if block.startswith(_HEADING):
            writer.heading(min(int(block[1]) + deeper, 6), block[2:])
        elif found := re.fullmatch(f"{_VERBATIM}(\\d+){_VERBATIM_END}", block.strip()):
            writer.block(f"```\n{code[int(found[1])]}\n```")
        else:
            writer.block("\n".join(map(_tidy, block.split("\n"))))
        check_length(writer.length, budget.limits)
    return writer.content(title=title)


def _without_code(text: str) -> tuple[str, list[str]]:
    """Return a text with a number for each block of code, and these blocks; comments are gone."""
    parts: list[str] = []
    code: list[str] = []
    absent: set[str] = set()  # ends that do not follow any more
    at = 0
    for found in _CODE.finditer(text):
        end = f"\\end{{{found['name']}}}"
        if found.start() < at or end in absent:
            continue
        if (stop := text.find(end, found.end())) < 0:
            absent.add(end)
            continue
        parts.append(text[at : found.start()])
        if found["name"] != "comment":
            parts.append(f"\n\n{_VERBATIM}{len(code)}{_VERBATIM_END}\n\n")
            code.append(text[found.end() : stop].rstrip())
        at = stop + len(end)
    return "".join([*parts, text[at:]]), code


def _tidy(line: str) -> str:
    """Return a line without superfluous spaces; those before a list item are its level.

    Two between bars are an empty cell.
    """
    indent = len(line) - len(line.lstrip()) if _ITEM.match(line) else 0
    return " " * indent + re.sub(r"(?<!\|) {2,}", " ", line.strip())


def _named(source: str, command: str) -> str | None:
    """Return the argument of the first such command, as text."""
    found = re.search(rf"\\{command}\s*(?:\[[^\]]*\])?\s*\{{", source)
    if not found:
        return None
    reader = _Reader(source, found.end())
    return " ".join(reader.group().split()) or None


class _Reader:
    """A reader of LaTeX from a position on."""

    def __init__(self, source: str, at: int = 0) -> None:
        self.source = source
        self._at = at
        self._absent: set[str] = set()  # ends that do not follow any more
        self._lists: list[int | None] = []  # the number of the last item, or None for bullets
        self._depth = 0

    def text(self) -> str:
        """Return the rest as text; paragraphs are separated by empty lines."""
        parts = []
        while self._at < len(self.source):
            parts.append(self.group())
        return "".join(parts)

    def group(self) -> str:
        """Return the text up to the brace that ends the group, and skip the brace."""
        self._depth += 1
        parts = []
        for token in self._tokens():
            if token["brace"] == "}":
                break
            parts.append(self._shown(token))
        self._depth -= 1
        return "".join(parts)

    def _tokens(self) -> Iterator[re.Match[str]]:
        """Yield tokens; all that is no markup is plain."""
        while token := _TOKEN.match(self.source, self._at):
            self._at = token.end()
            yield token

    def _shown(self, token: re.Match[str]) -> str:
        if token["plain"]:
            return token[0]
        if token["word"]:
            return self._command(token["word"])
        if token["sign"]:
            return self._sign(token["sign"])
        if token["math"]:
            return token[0] + self._until(token[0])
        if token["brace"]:
            return self.group() if self._depth < _DEEPEST else ""
        if token["gap"]:
            return "\n\n"
        return _MARKS[token["mark"]] if token["mark"] else " "

    def _until(self, end: str) -> str:
        """Return the source up to and with an end; if there is none, nothing."""
        found = -1 if end in self._absent else self.source.find(end, self._at)
        if found < 0:
            self._absent.add(end)
            return ""
        start, self._at = self._at, found + len(end)
        return self.source[start : self._at]

    def _argument(self) -> str:
        """Return the next argument in braces as text, after options; "" if there is none."""
        while found := _ARGUMENT.match(self.source, self._at):
            self._at = found.end()
            if found["open"]:
                return self.group() if self._depth < _DEEPEST else ""
        return ""

    def _sign(self, sign: str) -> str:
        if sign == "\\":
            self._skip_options()
            return "\n"
        if sign in "([":
            return f"\\{sign}" + self._until("\\)" if sign == "(" else "\\]")
        if sign in ACCENTS:
            return self._accent(sign)
        return {"-": "", "/": ""}.get(sign, sign if sign in "&%$#_{}" else " ")

    def _accent(self, name: str) -> str:
        """Return the next letter with an accent."""
        following = self.source[self._at : self._at + 1]
        if following in ("{", " "):
            letters = self._argument()
        elif following == "\\":
            token = next(self._tokens())
            letters = self._shown(token)
        else:
            self._at += 1
            letters = following
        letters = {"ı": "i", "ȷ": "j"}.get(letters, letters)
        return unicodedata.normalize("NFC", letters[:1] + ACCENTS[name] + letters[1:])

    def _skip_options(self) -> None:
        found = _ARGUMENT.match(self.source, self._at)
        if found and not found["open"]:
            self._at = found.end()

    def _command(self, name: str) -> str:
        if name in SECTIONS:
            title = " ".join(self._argument().split())
            return f"\n\n{_HEADING}{SECTIONS[name]}{title}\n\n"
        if name in SYMBOLS:
            return SYMBOLS[name]
        if name in ACCENTS:
            return self._accent(name)
        if name in DROPPED:
            for _ in range(DROPPED[name]):
                self._argument()
            self._skip_options()
            return ""
        if name in LINKED:
            return f"[{self._argument()}]"
        return self._structure(name)

    def _structure(self, name: str) -> str:
        if name in ("begin", "end"):
            return self._environment(self._argument(), begins=name == "begin")
        if name == "item":
            return self._item()
        if name == "footnote":
            return f" ({self._argument().strip()})"
        if name == "href":
            self._argument()
            return self._argument()
        if name == "verb":
            mark = self.source[self._at : self._at + 1]
            self._at += 1
            return self._until(mark).removesuffix(mark) if mark else ""
        if name in ("par", "bigskip", "medskip", "smallskip", "newpage", "clearpage"):
            return "\n\n"
        self._skip_options()
        return ""

    def _environment(self, name: str, *, begins: bool) -> str:
        if name.rstrip("*") in KEPT_ENVIRONMENTS and begins:
            end = f"\\end{{{name}}}"
            return f"\n\n{self._until(end).removesuffix(end).strip()}\n\n"
        if name in LISTS:
            if begins:
                self._skip_options()
                self._lists.append(LISTS[name])
            elif self._lists:
                self._lists.pop()
            return "" if self._lists[begins:] else "\n\n"
        if name in TABLES and begins:
            return self._table(name)
        if begins:
            self._skip_options()
        return "\n\n"

    def _table(self, name: str) -> str:
        """Return a table with a line for each row."""
        for _ in range(TABLES[name]):
            self._argument()
        end = f"\\end{{{name}}}"
        rows = _ROWS.split(self._until(end).removesuffix(end))
        cells = ([_Reader(cell).text() for cell in _CELLS.split(row)] for row in rows)
        return f"\n\n{table_text(cells)}\n\n"

    def _item(self) -> str:
        found = _ARGUMENT.match(self.source, self._at)
        label = ""
        if found and found["option"] is not None:
            self._at = found.end()
            label = f"{_Reader(found['option']).text()} "
        indent = "  " * (len(self._lists) - 1)
        if self._lists and self._lists[-1] is not None:
            self._lists[-1] += 1
            return f"\n{indent}{self._lists[-1]}. {label}"
        return f"\n{indent}- {label}"
