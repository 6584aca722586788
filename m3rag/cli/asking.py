"""`m3rag ask`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from m3rag.answers import score_needed, write
from m3rag.answers.answering import falls_short, to_dict
from m3rag.cli.opening import opened
from m3rag.cli.writing import show
from m3rag.documents import Passage
from m3rag.errors import M3Error
from m3rag.index import Hit
from m3rag.index.explanation import Sentence, tokens_of
from m3rag.model import M3Model
from m3rag.scoring.explain import Span, matched_spans

_CHANNELS = ("dense", "sparse", "colbert", "bm25")
_SHOWN = 700  # characters of a passage that are printed


@dataclass(frozen=True)
class _Found:
    """What a search found: hits with the spans to mark, and the best sentence unless refused."""

    question: str
    kb: Path
    hits: list[Hit]
    marks: list[list[Span]]
    sentence: Sentence | None
    min_score: float | None
    refused: bool


def run(
    question: str,
    kb: Path,
    *,
    k: int,
    weights: str,
    fusion: str,
    where: Mapping[str, Any] | None,
    balance: str | None,
    min_score: float | None,
    neighbours: int,
    llm: Callable[[], object] | None,
    as_json: bool,
) -> None:
    """Search, let a language model write if one is named, and print.

    Passages are printed before it is asked: whatever it does, they are there.

    Raises:
        AnswerError: the language model failed.
    """
    with opened(kb) as (index, model):
        hits = index.search(
            question, k, weights=weights, fusion=fusion, filter=where, balance=balance
        )
        needed = min_score
        if needed is None and balance is None:  # what tune calibrated is not for balanced scores
            needed = score_needed(index, weights, fusion)
        refused = bool(hits) and falls_short(hits, needed)
        sentence = hits[0].explain().sentence if hits and not refused else None
        if neighbours and hits:
            first, hits = hits[0].passage, index.expand(hits, neighbours)
            sentence = _shifted(sentence, (first.start or 0) - (hits[0].passage.start or 0))
        marks = [_matches(model, hit) for hit in hits]
    found = _Found(question, kb, hits, marks, sentence, needed, refused)
    asked = llm if hits and not refused else None
    if as_json:
        _print_json(found, asked, with_llm=llm is not None)
        return
    console = Console()
    _print_found(console, found)
    if asked:
        show(console, write(question, hits, asked()))


def _shifted(sentence: Sentence | None, by: int) -> Sentence | None:
    """The sentence in a passage that starts earlier."""
    if sentence is None:
        return None
    return replace(sentence, start=sentence.start + by, end=sentence.end + by)


def _print_json(found: _Found, asked: Callable[[], object] | None, *, with_llm: bool) -> None:
    """One object; what a language model or a threshold adds is there only with one."""
    first, sentence = found.hits[0].passage if found.hits else None, found.sentence
    result: dict[str, object] = {
        "question": found.question,
        "kb": str(found.kb),
        "answer": _answer_dict(first, sentence) if first and sentence else None,
        "hits": [
            hit.to_dict() | {"highlights": spans}
            for hit, spans in zip(found.hits, found.marks, strict=True)
        ],
    }
    if found.min_score is not None:
        result |= {"min_score": found.min_score, "refused": found.refused}
    failure = None
    if with_llm:
        result["written"] = None
    if asked:
        try:
            result["written"] = to_dict(write(found.question, found.hits, asked()))
        except M3Error as error:
            failure = error
            result["error"] = str(error)
    typer.echo(json.dumps(result, ensure_ascii=False))
    if failure:
        raise failure


def _print_found(console: Console, found: _Found) -> None:
    if not found.hits:
        console.print("Nothing found: the knowledge base is empty, or nothing passes the filter.")
        return
    if found.sentence:
        _print_answer(console, found.hits[0].passage, found.sentence)
    else:
        told = f"the best score is {found.hits[0].score:.3f}, {found.min_score:.3f} is needed"
        console.print(Text(f"Nothing in the knowledge base answers this: {told}.", "bold yellow"))
        console.print("The nearest passages:\n")
    for rank, (hit, spans) in enumerate(zip(found.hits, found.marks, strict=True), start=1):
        first = found.sentence if rank == 1 else None
        focus = first.start if first else (spans or [(0, 0)])[0][0]
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
    console.print(Text(f"  {passage.place}", style="dim"))
    console.print()


def best_line(sentence: Sentence) -> Text:
    """The best sentence, on one line."""
    words = " ".join(sentence.text.split())
    return Text("Best sentence: ", style="bold green").append(words, style="bold")


def _print_hit(console: Console, rank: int, hit: Hit, spans: list[Span], focus: int) -> None:
    title = Text(f"{rank}. ", style="bold").append(hit.passage.place, style="bold cyan")
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
