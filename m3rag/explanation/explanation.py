"""An explanation, and its output as JSON values and as HTML.

The HTML needs no script, no network and no other file, so it works in notebooks, files and e-mail.
Its colours work on light and dark backgrounds, and each text sets its own direction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from itertools import chain, pairwise
from typing import Any

from m3rag.documents import Passage, passage_to_dict
from m3rag.explanation.markup import POLICY, code_spans, html_text
from m3rag.explanation.parts import (
    Alignment,
    Channel,
    MatchedToken,
    Occurrence,
    Sentence,
    Token,
)

_STYLE = """
.m3rag {line-height: 1.5; margin-bottom: 2em}
.m3rag .place {opacity: .7}
.m3rag .query {font-size: 1.1em; font-weight: 600}
.m3rag .legend {opacity: .7; font-size: .85em}
.m3rag .text {white-space: pre-wrap; unicode-bidi: plaintext;
  border-inline-start: 3px solid rgba(128, 128, 128, .5);
  padding-inline-start: .8em; margin: .8em 0}
.m3rag mark {background: rgba(255, 170, 0, calc(.15 + .5 * var(--strength))); color: inherit}
.m3rag mark.counts {font-weight: 700}
.m3rag .best {text-decoration: underline 2px rgb(0, 160, 130); text-underline-offset: .25em}
.m3rag table {border-collapse: collapse; margin: .4em 0}
.m3rag th, .m3rag td {text-align: start; padding: .1em .8em .1em 0; color: inherit}
.m3rag td.number {text-align: end; font-variant-numeric: tabular-nums}
.m3rag .bar {display: inline-block; height: .7em; background: rgb(0, 160, 130)}
"""
_LEGEND = """\
<div class="legend"><mark style="--strength: 1">word</mark> also in the query; a stronger colour
adds more to the sparse score, and <mark class=counts style="--strength: 1">bold</mark> is the place
that counts · <span class="best">best sentence</span> ·
<span class="bar" style="width: 1em"></span> share of the score</div>"""
_PAGE = """<!doctype html>
<html>
<head>
<meta charset="utf-8">
{policy}
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>body {{font-family: system-ui, sans-serif; max-width: 50em; margin: 2em auto}}</style>
</head>
<body>
{body}
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The explanation of a match; a notebook shows it with highlights.

    Attributes:
        query: The text that was searched for.
        passage: The passage that was found.
        score: The fused score.
        fusion: "weighted" or "rrf".
        channels: The channels in the order dense, sparse, colbert, bm25; their shares add up to
            `score`.
        matched: The tokens that occur in both texts, the largest product first.
        alignments: One alignment for each ColBERT vector of the query, in order; the last is for
            "</s>".
        sentence: The sentence of the passage that matches best.
    """

    query: str
    passage: Passage
    score: float
    fusion: str
    channels: tuple[Channel, ...]
    matched: tuple[MatchedToken, ...] = field(repr=False)
    alignments: tuple[Alignment, ...] = field(repr=False)
    sentence: Sentence

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON values."""
        values = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}
        return values | {"passage": passage_to_dict(self.passage)}

    def to_html(self) -> str:
        """Return an HTML fragment without scripts or links, for light and dark pages."""
        return fragment(self)

    def _repr_html_(self) -> str:
        return self.to_html()


@dataclass(frozen=True, slots=True)
class _Mark:
    """The highlight of a matched token at one place."""

    start: int
    end: int
    strength: float  # 0 to 1
    counts: bool
    title: str


def page(explanations: Sequence[Explanation]) -> str:
    """Return an HTML file that shows explanations one below the other."""
    title = html_text(explanations[0].query) if explanations else "m3rag"
    shown = (fragment(why, legend=number == 0) for number, why in enumerate(explanations))
    return _PAGE.format(policy=POLICY, title=title, body="\n".join(shown))


def fragment(why: Explanation, *, legend: bool = True) -> str:
    """Return an explanation as an HTML fragment, to embed in a page, and what its colours mean."""
    passage, sentence = why.passage, why.sentence
    query = _marked(why.query, _marks((m.query, m) for m in why.matched))
    above = len(passage.full_text) - len(passage.text)
    text = _marked(
        passage.full_text,
        _marks((m.passage, m) for m in why.matched),
        (above + sentence.start, above + sentence.end),
    )
    return "\n".join(
        [
            f'<div class="m3rag"><style>{_STYLE}</style>',
            f'<div class="query" dir="auto">{query}</div>',
            f'<div class="place" dir="auto">{html_text(passage.place)}</div>',
            _channels(why),
            *([_LEGEND] if legend else []),
            f'<div class="text" dir="auto">{text}</div>',
            _folded(f"{len(why.matched)} matched tokens", *_matched(why)),
            _folded(f"{len(why.alignments)} aligned tokens", *_aligned(why)),
            "</div>",
        ]
    )


def _marks(places: Iterable[tuple[Sequence[Occurrence], MatchedToken]]) -> list[_Mark]:
    """Return a mark for each occurrence; the largest product gives the strongest mark."""
    places = list(places)
    largest = max((token.product for _, token in places), default=1.0)
    return [
        _Mark(at.start, at.end, token.product / largest, at.counts, _title(token))
        for occurrences, token in places
        for at in occurrences
        if at.start < at.end
    ]


def _title(token: MatchedToken) -> str:
    weights = f"{token.query_weight:.3f} × {token.passage_weight:.3f}"
    return f"{token.piece} {weights} = {token.product:.4f}"


def _marked(text: str, marks: Sequence[_Mark], best: tuple[int, int] = (0, 0)) -> str:
    """Return the text as HTML, with its marks and the best sentence.

    Where marks overlap, the strongest is shown. Code is isolated: in a text from right to left, its
    signs would change places.
    """
    code = list(code_spans(text))
    isolated = {start: '<bdi dir="ltr">' for start, _ in code}
    ends = {end: "</bdi>" for _, end in code}
    edges = chain((0, len(text)), best, *code, *((mark.start, mark.end) for mark in marks))
    parts = []
    for start, end in pairwise(sorted(set(edges))):
        parts.append(ends.get(start, "") + isolated.get(start, ""))
        part = html_text(text[start:end])
        covering = [mark for mark in marks if mark.start <= start and end <= mark.end]
        if covering:
            mark = max(covering, key=lambda mark: (mark.counts, mark.strength))
            part = (
                f'<mark{" class=counts" if mark.counts else ""} title="{html_text(mark.title)}" '
                f'style="--strength: {mark.strength:.2f}">{part}</mark>'
            )
        inside = best[0] <= start and end <= best[1]
        parts.append(f'<span class="best">{part}</span>' if inside else part)
    return "".join(parts) + ends.get(len(text), "")


def _channels(why: Explanation) -> str:
    ranked = why.fusion == "rrf"
    largest = max((abs(channel.share) for channel in why.channels), default=0.0) or 1.0
    rows = [_channel(channel, largest, ranked) for channel in why.channels]
    total = ["score", "", "", *([""] if ranked else []), f"{why.score:.4f}", ""]
    head = ["channel", "score", "weight", *(["rank"] if ranked else []), "share", ""]
    return _table(head, [*rows, total])


def _channel(channel: Channel, largest: float, ranked: bool) -> list[str]:
    width = f"{6 * max(channel.share, 0.0) / largest:.2f}em"
    rank = ["–" if channel.rank is None else str(channel.rank)] if ranked else []
    numbers = [f"{channel.score:.4f}", f"{channel.weight:g}", *rank, f"{channel.share:.4f}"]
    return [channel.name, *numbers, f'<span class="bar" style="width: {width}"></span>']


def _matched(why: Explanation) -> tuple[list[str], list[list[str]]]:
    head = ["token", "in the query", "in the passage", "product", "times"]
    return head, [
        [
            _bdi(token.piece),
            f"{token.query_weight:.4f}",
            f"{token.passage_weight:.4f}",
            f"{token.product:.4f}",
            f"{len(token.query)} / {len(token.passage)}",
        ]
        for token in why.matched
    ]


def _aligned(why: Explanation) -> tuple[list[str], list[list[str]]]:
    def row(pair: Alignment) -> list[str]:
        return [_shown(pair.query), _shown(pair.passage), f"{pair.similarity:.4f}"]

    return ["query", "passage", "similarity"], [row(pair) for pair in why.alignments]


def _shown(token: Token) -> str:
    return _bdi(token.text or token.piece)


def _bdi(text: str) -> str:
    return f"<bdi>{html_text(text)}</bdi>"


def _folded(title: str, head: list[str], rows: list[list[str]]) -> str:
    return f"<details><summary>{title}</summary>{_table(head, rows)}</details>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of HTML cells; numbers are aligned to the end of their column."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _cell(content: str) -> str:
    kind = ' class="number"' if content.lstrip("-")[:1].isdecimal() else ""
    return f"<td{kind}>{content}</td>"


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return [_plain(part) for part in value] if isinstance(value, tuple) else value
