"""The tokens of a text where a reader sees them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from m3rag.documents.graphemes import tears
from m3rag.index.explanation.parts import Token

if TYPE_CHECKING:
    from m3rag.model import Tokenizer

_WORD = "▁"


def tokens_of(tokenizer: Tokenizer, text: str) -> list[Token]:
    """The content tokens of a text, their spans widened to whole visible characters.

    The tokenizer reads a normalised text, in which "½" is three characters and an "e" with its
    accent may be one. Its spans point back into the text as given, but may leave the accent out.
    """
    [ids], [spans] = tokenizer.ids([text]), tokenizer.spans([text])
    borders = [0, *(i for i in range(1, len(text)) if not tears(text, i)), len(text)]
    tokens = []
    for id_, piece, (start, end) in zip(ids, tokenizer.tokens(ids), spans, strict=True):
        start = borders[bisect_right(borders, start) - 1]
        # A "▁" alone says that a word begins; the tokenizer points at that word's first character.
        end = start if piece == _WORD else borders[bisect_left(borders, end)]
        tokens.append(Token(id_, piece, text[start:end], start, end))
    return tokens
