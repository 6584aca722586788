"""Pseudo-questions, to learn from when there are no labelled questions.

A heading, or the first sentence of a passage, is cut out of the passage and becomes a question. It
is in the passage's own language and shares its words, which real questions often do not. Measure
with real questions.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from m3rag.documents import Passage, sentences
from m3rag.errors import InputError
from m3rag.evaluation.dataset import Query
from m3rag.index import M3Index
from m3rag.progress import Progress, silent
from m3rag.tuning.labels import Labelled

KINDS = ("headings", "sentences")
PASSAGES = 1000  # the maximum number of passages, which are encoded again without the questions
_SHORTEST = 40  # the minimum number of characters left in a passage
_MARKS = "#= \t"  # the marks of a heading line

Cut = tuple[str, str]
"""A pseudo-question and the rest of its passage."""


def pseudo_questions(
    index: M3Index,
    kind: str = "headings",
    *,
    progress: Progress | None = None,
) -> tuple[M3Index, Labelled]:
    """Make pseudo-questions from the passages of an index.

    At most 1,000 passages are used, evenly spread over the index. They are encoded again; their
    BM25 scores use the model's tokenizer, even if the index has an analyzer of its own.

    Args:
        index: The index with the passages.
        kind: "headings" or "sentences".
        progress: Called with the stage "encoding passages".

    Returns:
        An index in memory with the passages, without the questions cut out of them; and the
        questions.

    Raises:
        InputError: The kind is unknown, or no passage gives a question.
    """
    if kind not in KINDS:
        raise InputError(f"`kind` must be one of {', '.join(KINDS)}, got {kind!r}.")
    passages = sorted(index.passages(), key=lambda passage: passage.id)
    passages = passages[:: -(-len(passages) // PASSAGES) or 1]
    cuts = {p.id: cut for p in passages if (cut := _cut(p, kind))}
    counts = Counter(question for question, _ in cuts.values())
    texts = "\0".join(passage.text for passage in passages)
    questions = {
        name: question
        for name, (question, _) in cuts.items()
        # A text in two passages, such as the overlap of neighbours, would have two answers.
        if counts[question] == 1 and (kind == "headings" or texts.count(question) == 1)
    }
    if not questions:
        raise InputError(
            f"The index has no {kind} that belong to only one of its {len(passages):,} passages."
        )
    rest = [replace(p, text=cuts[p.id][1]) if p.id in cuts else p for p in passages]
    cut_index = M3Index.open(model=index.model, bm25=index.manifest.bm25)
    report = progress or silent
    cut_index.add(rest, progress=lambda _, n, total: report("encoding passages", n, total))
    queries = [Query(name, question) for name, question in questions.items()]
    return cut_index, Labelled(f"pseudo-{kind}", queries, {name: {name: 1} for name in questions})


def _cut(passage: Passage, kind: str) -> Cut | None:
    """Cut a pseudo-question out of a passage; None if there is none or too little is left."""
    question, rest = _heading(passage) if kind == "headings" else _sentence(passage)
    rest = rest.strip()
    return (question, rest) if question and len(rest) >= _SHORTEST else None


def _heading(passage: Passage) -> Cut:
    """Return the last heading at the start of a passage, and the text below all of them."""
    titles = {" ".join(title.split()) for title in passage.headings}
    question, rest = "", passage.text
    while rest:
        line, _, after = rest.partition("\n")
        title = " ".join(line.strip(_MARKS).split())
        if title and title not in titles:
            break
        question, rest = title or question, after
    return question, rest


def _sentence(passage: Passage) -> Cut:
    """Return the first sentence below the headings, and the text after it."""
    _, text = _heading(passage)
    spans = sentences(text)
    if not spans:
        return "", text
    start, end = spans[0]
    return text[start:end], text[end:]
