"""Answers that are passed on while a language model writes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from m3rag.answers.generation import INSTRUCTIONS, Answer, check_answer, prompt, write
from m3rag.answers.keys import redactor_of
from m3rag.answers.openai_chat import OpenAIChat
from m3rag.answers.redaction import valid
from m3rag.errors import AnswerError, InputError
from m3rag.index import Hit
from m3rag.limits import DEFAULT_LIMITS, Limits


def write_streamed(
    question: str,
    hits: Sequence[Hit],
    llm: object,
    *,
    min_score: float | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Iterator[str | Answer]:
    """Yield an answer in pieces while it is written, then the whole, with its citations checked.

    An `OpenAIChat` streams; other language models write all of it first. The pieces have citations
    that the check can remove: show the text of the whole answer in their place.

    Args:
        question: The question.
        hits: The passages to answer from.
        llm: The language model; see `m3rag.answers.answer`.
        min_score: As in `Answer`.
        limits: The most characters of the text, in `answer_characters`.

    Raises:
        InputError: There are no hits, or `llm` is not a language model.
        AnswerError: The language model failed, or returned no text or too much.
    """
    if not isinstance(llm, OpenAIChat):
        answer = write(question, hits, llm, min_score=min_score, limits=limits)
        yield answer.text
        yield answer
        return
    if not hits:
        raise InputError("There are no passages to answer from: `hits` is empty.")
    text = ""
    for piece in llm.stream(INSTRUCTIONS, valid(prompt(question, [hit.passage for hit in hits]))):
        text += piece
        if piece:
            yield piece
    if not text.strip():
        raise AnswerError(f"{llm.model} returned no text. Ask again, or use another model.")
    hidden = redactor_of(llm).answer(text)
    yield check_answer(hidden, hits, question=question, min_score=min_score, limits=limits)
