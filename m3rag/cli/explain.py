"""`m3rag explain`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from m3rag.cli.common import best_line, opened, why_nothing
from m3rag.cli.options import In, Json, Question, check_unicode, search_options
from m3rag.cli.output import Terminal, print_json, shown
from m3rag.cli.output import passage as passage_text
from m3rag.cli.pages import check_page, write_page
from m3rag.errors import InputError
from m3rag.index.settings import SearchSettings

if TYPE_CHECKING:
    from m3rag.explanation import Explanation
    from m3rag.index import Hit, M3Index

_K = 3


@search_options
def explain(
    question: Question,
    kb: In,
    k: Annotated[
        int | None,
        typer.Option(
            "-k",
            help="Number of passages, best first; 3 by default. Cannot be combined with --passage.",
        ),
    ] = None,
    passage: Annotated[
        str | None, typer.Option(help="Id of one passage to explain, regardless of its rank.")
    ] = None,
    *,
    settings: SearchSettings,
    as_json: Json = False,
    html: Annotated[
        Path | None,
        typer.Option(help="Write an HTML page with highlights to this file instead of printing."),
    ] = None,
) -> None:
    """Explain why passages are found: shares of the score, matched and aligned tokens."""
    from m3rag.explanation import page

    if passage is not None and k is not None:
        raise InputError(
            "-k explains the best passages, --passage a given one. Use only one of them."
        )
    check_unicode("The question", question)
    check_unicode("--passage", passage or "")
    if html is not None:
        check_page(html)  # before the slow part
    with opened(kb) as (index, _):
        if passage is None:
            hits = index.search(question, _K if k is None else k, settings=settings)
        else:
            hits = [_hit(index, question, passage, settings)]
        explanations = [hit.explain() for hit in hits]
        nothing = "" if hits else why_nothing(index.stored, settings.filter)
    if nothing:
        Terminal(stderr=as_json or html is not None).say(nothing)
    if html is not None:
        write_page(html, page(explanations))
    if as_json:
        values = [why.to_dict() for why in explanations]
        result = {"question": question, "kb": str(kb), "explanations": values}
        print_json(result)
    elif html is not None:
        count = len(explanations)
        Terminal().say(f"{count} passage{'' if count == 1 else 's'} explained in {html}.")
    else:
        _print(explanations)


def _hit(index: M3Index, question: str, passage: str, settings: SearchSettings) -> Hit:
    if settings.filter is not None:
        raise InputError("--passage cannot be combined with --filter. Leave out --filter.")
    hits = index.search(question, 1, settings=settings.changed(filter={"$id": passage}))
    if not hits:
        raise InputError(
            f"There is no passage {passage!r} in {index.stored.location}. m3rag ask --json prints "
            "the ids of passages as `passage.id`."
        )
    return hits[0]


def _print(explanations: list[Explanation]) -> None:
    console = Terminal()
    for rank, why in enumerate(explanations, start=1):
        console.say(Text(f"{rank}. ", "bold"), shown(why.passage.place, "bold cyan"))
        body = Group(
            _channels(why),
            best_line(why.sentence),
            "",
            _text(why),
            "",
            _matched(why) if why.matched else "No token in common.\n",
            _aligned(why),
        )
        console.print(Padding(body, (0, 0, 1, 3), expand=False))


def _channels(why: Explanation) -> Table:
    table = _table("channel", "score", "weight", "share")
    for channel in why.channels:
        numbers = (f"{channel.score:.4f}", f"{channel.weight:g}", f"{channel.share:.4f}")
        table.add_row(channel.name, *numbers)
    table.add_row("score", "", "", f"{why.score:.4f}", style="bold")
    return table


def _text(why: Explanation) -> Text:
    marks = [
        (at.start, at.end, "bold yellow" if at.counts else "yellow")
        for token in why.matched
        for at in token.passage
    ]
    found, best = why.passage, why.sentence
    above = len(found.full_text) - len(found.text)
    start, end = above + best.start, above + best.end
    return passage_text(found.full_text, start, [*marks, (start, end, "underline")])


def _matched(why: Explanation) -> Table:
    table = _table("matched", "question", "passage", "product", "at")
    for token in why.matched:
        at = next((at.start, at.end) for at in token.passage if at.counts)
        numbers = (token.query_weight, token.passage_weight, token.product)
        more = len(token.passage) - 1
        where = _span(*at) + (f" +{more}" if more else "")
        table.add_row(shown(token.piece), *(f"{number:.4f}" for number in numbers), where)
    return table


def _aligned(why: Explanation) -> Table:
    table = _table("question", "passage", "similarity", "at")
    for pair in why.alignments:
        token = pair.passage
        table.add_row(
            shown(pair.query.text or pair.query.piece),
            shown(token.text or token.piece),
            f"{pair.similarity:.4f}",
            _span(token.start, token.end),
        )
    return table


def _table(*head: str) -> Table:
    return Table(*head, box=SIMPLE_HEAD, pad_edge=False)


def _span(start: int, end: int) -> str:
    return f"{start}-{end}"
