"""`m3rag ask`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from m3rag.cli.opening import opened
from m3rag.documents import Passage
from m3rag.index import Hit
from m3rag.index.explanation import Sentence, tokens_of
from m3rag.model import M3Model
from m3rag.scoring.explain import Span, matched_spans

_CHANNELS = ("dense", "sparse", "colbert", "bm25")
_SHOWN = 700  # characters of a passage that are printed


def run(
    question: str,
    kb: Path,
    *,
    k: int,
    weights: str,
    fusion: str,
    where: Mapping[str, Any] | None,
    as_json: bool,
) -> None:
    """Search and print: the answering sentence, then the passages with their scores."""
    with opened(kb) as (index, model):
        hits = index.search(question, k, weights=weights, fusion=fusion, filter=where)
        answer = hits[0].explain().sentence if hits else None
        marks = [_matches(model, hit) for hit in hits]
    if as_json:
        result = {
            "question": question,
            "kb": str(kb),
            "answer": None if answer is None else _answer_dict(hits[0].passage, answer),
            "hits": [
                hit.to_dict() | {"highlights": spans}
                for hit, spans in zip(hits, marks, strict=True)
            ],
        }
        typer.echo(json.dumps(result, ensure_ascii=False))
        return
    console = Console()
    if answer is None:
        console.print("Nothing found: the knowledge base is empty, or nothing passes the filter.")
        return
    _print_answer(console, hits[0].passage, answer)
    for rank, (hit, spans) in enumerate(zip(hits, marks, strict=True), start=1):
        focus = answer.start if rank == 1 else (spans or [(0, 0)])[0][0]
        _print_hit(console, rank, hit, spans, focus)


def _matches(model: M3Model, hit: Hit) -> list[Span]:
    """The spans, in the passage, of words that the question has too."""
    tokens = tokens_of(model.tokenizer, hit.passage.text)
    spans = [(token.start, token.end) for token in tokens]
    matched = {token for token, _, _ in hit.matched}
    return matched_spans([token.id for token in tokens], spans, matched)


def _answer_dict(passage: Passage, answer: Sentence) -> dict[str, object]:
    """The answer with its place in the document, or in a passage that comes from none."""
    first = passage.start or 0
    return {
        "text": answer.text,
        "passage_id": passage.id,
        "document_id": passage.document_id,
        "start": first + answer.start,
        "end": first + answer.end,
    }


def _print_answer(console: Console, passage: Passage, answer: Sentence) -> None:
    console.print(best_line(answer))
    console.print(Text(f"  {place(passage)}", style="dim"))
    console.print()


def best_line(sentence: Sentence) -> Text:
    """The best sentence, on one line."""
    words = " ".join(sentence.text.split())
    return Text("Best sentence: ", style="bold green").append(words, style="bold")


def _print_hit(console: Console, rank: int, hit: Hit, spans: list[Span], focus: int) -> None:
    title = Text(f"{rank}. ", style="bold").append(place(hit.passage), style="bold cyan")
    scores = Text(f"{hit.score:.3f}", style="bold magenta")
    for channel in _CHANNELS:
        score = getattr(hit, channel)
        if score is not None:
            scores.append(f"  {channel} {score:.3f}", style="not bold dim")
    body = Text(hit.passage.text)
    for start, end in spans:
        body.stylize("bold yellow", start, end)
    console.print(title)
    console.print(Padding(scores, (0, 0, 0, 3)))
    console.print(Padding(window(body, focus), (0, 0, 1, 3)))


def window(body: Text, focus: int) -> Text:
    """At most _SHOWN characters of a text, around the one that matters."""
    start = max(0, min(focus - _SHOWN // 3, len(body) - _SHOWN))
    shown = body[start : start + _SHOWN]
    shown = Text("… ").append_text(shown) if start else shown
    return shown.append(" …") if start + _SHOWN < len(body) else shown


def place(passage: Passage) -> str:
    """Where a passage stands: its document and the headings above it."""
    return " › ".join([passage.document_id or passage.id, *passage.headings])
