"""Source code: the text as it is written; the definitions of classes and functions are headings.

Pygments tells code from comments and strings. What defines something in the code is found by a
pattern for each language, and what it is in, by how far its line is indented.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Any

from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Literal

from m3rag.documents.document import Heading
from m3rag.documents.formats.content import Content

_LONGEST = 1 << 18  # characters of a file whose definitions are looked for, in a second or two
_WIDEST = 2_000  # characters of a line; lexers take the square of the time, and people write less
_LEVELS = 6
_STRING = "\x1a"  # stands for each character of a string
_SKIPPED = re.compile(r"[ \t]*+(?:[{)\x1a#]|(?:public|private|protected)\b[^(\n]*:[ \t]*$)")
_LEADING = re.compile(r"[ \t]*+(?:@|#!?\[|\[\w)")  # a decorator or an attribute of the next line
_QUOTES = re.compile("[\"'`\\[\\]]")

_NAME = r"(?P<name>[\w$.:\x1a]+)"
_WORDS = r"^[ \t]*+(?:[\w.@]++(?:\([^()\n]*+\))?[ \t]++){0,8}?"  # modifiers before a keyword
_NO_TYPE = (
    r"(?!(?:return|if|else|for|foreach|while|switch|case|catch|do|new|throw|try|using|lock|await|"
    r"yield|delete|typeof|sizeof|with|synchronized|goto|assert|super|this|function)\b)"
)
_TYPE = r"(?:[\w:<>,.\[\]?~@$]++[ \t*&]++)"
_BODY = r"[ \t]*+\((?:[^;{}()]|\([^;{}()]*+\))*+\)[^;{}():]*+(?::[^;{}]*+)?\{"
_TYPED = rf"^[ \t]*+{_NO_TYPE}{_TYPE}+(?P<name>[\w~]+(?:::[\w~]+)*){_BODY}"
_METHOD = rf"^[ \t]++{_NO_TYPE}{_TYPE}*(?P<name>[\w$#]+){_BODY}"
_ASSIGNED = (
    r"^(?:export[ \t]++)?(?:(?:const|let|var)[ \t]++|[\w$.]+\.)(?P<name>[\w$]+)[ \t]*+"
    r"(?::[^=\n]*+)?=[ \t]*+(?:async[ \t]*+)?"
    r"(?:function\b|\([^()\n]*+\)[^=\n]*+=>|[\w$]++[ \t]*+=>)"
)


def _after(*keywords: str) -> str:
    """Return a pattern for a name after one of some keywords."""
    return rf"{_WORDS}(?:{'|'.join(keywords)})[ \t]++{_NAME}"


_TYPES = _after("class", "struct", "union", "enum", "interface", "namespace")
_TYPES += r"[^;()=*&{\n]*+(?:\{|$)"  # "struct plant *find(…) {" is a function


class Language(Enum):
    """A language: the name of its lexer, and patterns of what defines something in it."""

    PYTHON = "python", _after("def", "class")
    JAVASCRIPT = "javascript", _after(r"function\*?", "class"), _METHOD, _ASSIGNED
    TYPESCRIPT = (
        "typescript",
        _after(r"function\*?", "class", "interface", "enum", "namespace", "type"),
        _METHOD,
        _ASSIGNED,
    )
    JAVA = "java", _after("class", "@?interface", "enum", "record"), _TYPED
    KOTLIN = "kotlin", _after("class", "interface", "object", r"fun(?:[ \t]*+<[^>\n]*+>)?")
    SCALA = "scala", _after("def", "class", "trait", "object", "enum")
    GROOVY = "groovy", _after("def", "class", "interface", "enum", "trait"), _TYPED
    C = "c", _TYPES, _TYPED
    CPP = "cpp", _TYPES, _TYPED
    CSHARP = "csharp", _TYPES, _after("record"), _TYPED
    DART = "dart", _after("class", "enum", "mixin", "extension"), _TYPED
    GO = "go", _after(r"func(?:[ \t]*+\([^()\n]*+\))?", "type")
    RUST = (
        "rust",
        _after("fn", "struct", "enum", "union", "trait", "mod", "macro_rules!"),
        r"^[ \t]*+(?:unsafe[ \t]++)?impl(?:<[^{\n]*?>)?[ \t]++(?P<name>[^{\n]+?)[ \t]*+(?:\{|$)",
    )
    SWIFT = "swift", _after("func", "class", "struct", "enum", "protocol", "extension", "actor")
    RUBY = "ruby", _after("def", "class", "module")
    PHP = "php", _after("function", "class", "interface", "trait", "enum")
    PERL = "perl", _after("sub", "package")
    LUA = "lua", _after("function")
    R = "r", r"^[ \t]*+(?P<name>[\w.\x1a]+)[ \t]*+(?:<-|=)[ \t]*+function\b"
    JULIA = "julia", _after("function", "struct", "module", "macro")
    ELIXIR = "elixir", _after("defmodule", "defp?", "defmacrop?", "defprotocol", "defimpl")
    SHELL = "bash", _after("function"), r"^[ \t]*+(?P<name>[\w.:-]+)[ \t]*+\([ \t]*+\)"
    POWERSHELL = (
        "powershell",
        r"(?i)^[ \t]*+(?:function|filter|class|enum)[ \t]++(?P<name>[\w:-]+)",
    )
    SQL = (
        "sql",
        r"(?i)^[ \t]*+create[ \t]++(?:\w++[ \t]++){0,4}?(?:table|view|function|procedure|trigger|"
        r"index|type|schema|database|sequence|package)[ \t]++"
        r"(?:body[ \t]++|if[ \t]++not[ \t]++exists[ \t]++)?"
        r"(?P<name>[\w.\x1a\"`\[\]]+)",
    )

    def __init__(self, lexer: str, *patterns: str) -> None:
        self._lexer = lexer
        self._patterns = tuple(re.compile(pattern, re.MULTILINE) for pattern in patterns)

    def parse(self, text: str) -> Content:
        """Return source code as it is; one that is very long, or in long lines, has no headings."""
        written = len(text) <= _LONGEST and max(map(len, text.split("\n"))) <= _WIDEST
        return Content(text, tuple(self._headings(text)) if written else ())

    def _headings(self, text: str) -> Iterator[Heading]:
        code = self._code(text)
        names: dict[int, str] = {}
        for pattern in self._patterns:
            for found in pattern.finditer(code):
                name = _QUOTES.sub("", text[slice(*found.span("name"))]).rstrip(":")
                names.setdefault(found.start(), " ".join(name.split()))
        around: list[int] = []  # the indents of the definitions that the line is in
        lead: int | None = None  # the start of the comments and decorators above the line
        start = 0
        for line in code.split("\n"):
            indent = len(line) - len(line.lstrip())
            if not line.strip() or _LEADING.match(line):
                above = text[start : start + len(line)].strip()
                lead = None if not above else start if lead is None else lead
            elif not _SKIPPED.match(line):
                while around and indent <= around[-1]:
                    around.pop()
                if names.get(start):
                    around.append(indent)
                    yield Heading(
                        min(len(around), _LEVELS), names[start], start if lead is None else lead
                    )
                lead = None
            start += len(line) + 1

    def _code(self, text: str) -> str:
        """Return a text with spaces in place of its comments, and marks in place of its strings."""
        parts = []
        for _, kind, value in get_lexer_by_name(self._lexer).get_tokens_unprocessed(text):
            if _is_comment(kind, value):
                value = re.sub(r"[^\n]", " ", value)
            elif kind in Literal.String:
                value = re.sub(r"[^\n]", _STRING, value)
            parts.append(value)
        return "".join(parts)


def _is_comment(kind: Any, value: str) -> bool:
    """Return whether a token is a comment, and no directive such as "#include"."""
    if kind in Literal.String.Doc:  # of Python or of Rust
        return value.startswith("/")
    return kind in Comment and kind not in Comment.Preproc and kind not in Comment.PreprocFile
