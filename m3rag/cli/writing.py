"""The written answer of `m3rag ask`: which language model, and how its answer is shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from m3rag.answers import Answer, ChatServer, load_llm
from m3rag.answers.server import API_KEY
from m3rag.errors import InputError


def chosen(
    llm: str | None, url: str | None, model: str | None, timeout: float
) -> Callable[[], object] | None:
    """What makes the language model that the options name; None if they name none.

    Raises:
        InputError: options that do not go together.
    """
    if llm and (url or model):
        raise InputError("Take --llm, or --llm-url with --llm-model, not both.")
    if bool(url) != bool(model):
        raise InputError("--llm-url and --llm-model go together.")
    if url and model:
        return partial(ChatServer, url, model, os.environ.get(API_KEY), timeout)
    return partial(_load, llm) if llm else None


def _load(spec: str) -> object:
    """A model, also of a module in the working directory; installed modules come first."""
    sys.path.append(os.getcwd())
    try:
        return load_llm(spec)
    finally:
        sys.path.pop()


def show(console: Console, answer: Answer) -> None:
    """Print the text, the places of what it cites, and what is wrong with it."""
    console.print(Text("Answer: ", style="bold green").append(answer.text, style="not bold"))
    for number, hit in answer.citations.items():
        console.print(Text(f"  [{number}] {hit.passage.place}", style="dim"))
    for warning in _warnings(answer):
        console.print(Padding(Text(warning, style="yellow"), (0, 0, 0, 2)))


def _warnings(answer: Answer) -> list[str]:
    found = []
    if answer.removed:
        numbers = ", ".join(map(str, answer.removed))
        found.append(f"Removed citations of passages that do not exist: {numbers}.")
    for quote in answer.quotes:
        if not quote.found:
            cited = "".join(f"[{number}]" for number in quote.numbers) or "No passage"
            missing = "does not have" if quote.numbers else "is cited for"
            found.append(f"Not a quotation: {cited} {missing} “{quote.text}”.")
    if not answer.cited:
        found.append("Unsupported: the answer cites no passage.")
    return found
