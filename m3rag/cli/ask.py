"""`m3rag ask`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.padding import Padding
from rich.text import Text

from m3rag.cli.common import best_line, llm_server, loaded_cross_encoder, opened, why_nothing
from m3rag.cli.options import In, Json, Question, check_unicode, search_options
from m3rag.cli.output import Terminal, passage, print_json, shown
from m3rag.cli.visible import block
from m3rag.errors import InputError, M3Error
from m3rag.index.settings import SearchSettings

if TYPE_CHECKING:
    from m3rag.answers import Answer
    from m3rag.documents import Passage
    from m3rag.explanation import Sentence
    from m3rag.explanation.alignment import Span
    from m3rag.index import Hit
    from m3rag.service import Found

_NUMBERS = 20  # that a warning lists
_CHANNELS = ("dense", "sparse", "colbert", "bm25")


@search_options
def ask(
    question: Question,
    kb: In,
    k: Annotated[int, typer.Option("-k", help="Number of passages.")] = 5,
    *,
    settings: SearchSettings,
    min_score: Annotated[
        float | None,
        typer.Option(
            help="Minimum score of the best passage; if it is lower, nothing answers the "
            "question. Defaults to the threshold that tune calibrated for the weights."
        ),
    ] = None,
    neighbours: Annotated[
        int, typer.Option(help="Passages to add before and after each passage.")
    ] = 0,
    rerank: Annotated[
        str | None,
        typer.Option(
            help="Cross-encoder that sorts the passages found: hub id such as "
            "BAAI/bge-reranker-v2-m3, or folder. Scores are then its own, 0 to 1."
        ),
    ] = None,
    rerank_candidates: Annotated[
        int, typer.Option(help="Number of passages that --rerank sorts.")
    ] = 30,
    llm: Annotated[
        str | None,
        typer.Option(
            metavar="M:C[,K=V…]",
            help="Language model that writes an answer: a LangChain or LlamaIndex class and its "
            "arguments, as module:Class[,key=value…].",
        ),
    ] = None,
    llm_url: Annotated[
        str | None,
        typer.Option(
            help="Server that writes an answer: an OpenAI-compatible URL such as "
            "http://localhost:11434/v1. The API key is read from M3RAG_LLM_API_KEY."
        ),
    ] = None,
    llm_model: Annotated[str | None, typer.Option(help="Name of the model on the server.")] = None,
    llm_timeout: Annotated[
        float,
        typer.Option(help="Seconds within which the server must have sent its whole response."),
    ] = 120.0,
    as_json: Json = False,
) -> None:
    """Find the passages that answer a question, in any language."""
    from m3rag import service

    check_unicode("The question", question)
    make_llm = _llm(llm, llm_url, llm_model, llm_timeout)
    with opened(kb) as (index, _), loaded_cross_encoder(rerank) as cross_encoder:
        found = service.ask(
            index,
            question,
            k,
            min_score=min_score,
            neighbours=neighbours,
            cross_encoder=cross_encoder,
            rerank_candidates=rerank_candidates,
            settings=settings,
        )
        nothing = "" if found.hits else why_nothing(index.stored, settings.filter)
    if nothing:
        Terminal(stderr=as_json).say(nothing)
    needed_llm = make_llm if found.answerable else None
    if as_json:
        _print_json(found, kb, needed_llm, with_llm=make_llm is not None)
        return
    # The passages are printed first, so that they are there if the language model fails.
    console = Terminal()
    _print_found(console, found)
    if needed_llm:
        _print_written(console, found.write(needed_llm()))


def _print_json(
    found: Found, kb: str, make_llm: Callable[[], object] | None, *, with_llm: bool
) -> None:
    """Print one object; it has "written" only with a language model."""
    values = found.to_dict()
    result: dict[str, Any] = {"question": values.pop("question"), "kb": str(kb), **values}
    failure = None
    if with_llm:
        result["written"] = None
    if make_llm:
        try:
            result["written"] = found.write(make_llm()).to_dict()
        except M3Error as error:
            failure = error
            result["error"] = str(error)
    print_json(result)
    if failure:
        raise failure


def _llm(
    llm: str | None, url: str | None, model: str | None, timeout: float
) -> Callable[[], object] | None:
    """Return a function that creates the language model of the options; None without one.

    Raises:
        InputError: The options contradict each other or are incomplete.
    """
    if llm and (url or model):
        raise InputError("Use either --llm, or --llm-url with --llm-model, but not both.")
    if url or model:
        return llm_server(url, model, timeout)
    return partial(_load, llm) if llm else None


def _load(spec: str) -> object:
    """Create a model, also from a module in the working directory; installed modules come first."""
    from m3rag.answers import load_llm

    sys.path.append(os.getcwd())
    try:
        return load_llm(spec)
    finally:
        sys.path.pop()


def _print_found(console: Terminal, found: Found) -> None:
    if not found.hits:
        return
    if found.sentence:
        _print_answer(console, found.hits[0].passage, found.sentence)
    else:
        reason = (
            f"the best score is {found.hits[0].score:.3f}, but {found.min_score:.3f} is required"
        )
        console.say(
            Text(f"Nothing in the knowledge base answers the question: {reason}.", "bold yellow")
        )
        console.print("Nearest passages:\n")
    for rank, (hit, spans) in enumerate(zip(found.hits, found.highlights, strict=True), start=1):
        first = found.sentence if rank == 1 else None
        focus = first.start if first else (spans or [(0, 0)])[0][0]
        _print_hit(console, rank, hit, spans, focus)


def _print_answer(console: Terminal, found: Passage, answer: Sentence) -> None:
    console.say(best_line(answer))
    console.say(shown(f"  {found.place}", "dim"))
    console.print()


def _print_hit(console: Terminal, rank: int, hit: Hit, spans: list[Span], focus: int) -> None:
    scores = Text(f"{hit.score:.3f}", style="bold magenta")
    for channel in _CHANNELS:
        score = getattr(hit, channel)
        if score is not None:
            scores.append(f"  {channel} {score:.3f}", style="not bold dim")
    body = passage(hit.passage.text, focus, ((*span, "bold yellow") for span in spans))
    console.say(Text(f"{rank}. ", "bold"), shown(hit.passage.place, "bold cyan"))
    console.print(Padding(scores, (0, 0, 0, 3), expand=False))
    if hit.passage.table_header:
        console.print(
            Padding(passage(hit.passage.table_header, 0), (0, 0, 0, 3), expand=False), style="dim"
        )
    console.print(Padding(body, (0, 0, 1, 3), expand=False))


def _print_written(console: Terminal, answer: Answer) -> None:
    """Print the text, the locations of the cited passages, and warnings."""
    console.print(Text("Answer: ", "bold green").append(block(answer.text), "not bold"))
    for number, hit in answer.citations.items():
        console.say(shown(f"  [{number}] {hit.passage.place}", "dim"))
    for warning in _warnings(answer):
        console.say(shown(f"  {warning}", "yellow"))


def _warnings(answer: Answer) -> list[str]:
    warnings = []
    if answer.removed:
        more = len(answer.removed) - _NUMBERS
        numbers = ", ".join(map(str, answer.removed[:_NUMBERS])) + (
            f" and {more} more" if more > 0 else ""
        )
        warnings.append(f"Removed citations of passages that do not exist: {numbers}.")
    for quote in answer.quotes:
        if not quote.found:
            cited = "".join(f"[{number}]" for number in quote.numbers)
            where = f"in {cited}" if cited else "because no passage is cited"
            warnings.append(f"Quotation not found {where}: “{quote.text}”.")
    if not answer.cited:
        warnings.append("Unsupported: the answer cites no passage.")
    return warnings
