"""Pseudo-questions: what to learn from while nobody has written questions.

A heading, or the first sentence of a passage, is taken out of the passage and asked for. It is of
the passage's own language and words, as real questions often are not: measure with real ones.
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
PASSAGES = 1000  # of an index that are encoded again, without what is asked for
_SHORTEST = 40  # characters that must stay of a passage
_MARKS = "#= \t"  # of a heading's line

Cut = tuple[str, str]
"""A pseudo-question and the rest of its passage."""


def pseudo_questions(
    index: M3Index,
    kind: str = "headings",
    *,
    progress: Progress | None = None,
) -> tuple[M3Index, Labelled]:
    """Pseudo-questions of an index, and an index in memory whose passages lack them.

    At most 1,000 passages take part, evenly spread over the index; they are encoded again.

    Args:
        index: where the passages are.
        kind: "headings" or "sentences".
        progress: Called with the stage "encoding passages".

    Raises:
        InputError: an unknown kind, an index with an analyzer of its own, or none to be found.
    """
    if kind not in KINDS:
        raise InputError(f"Pseudo-questions are {' or '.join(KINDS)}, not {kind!r}.")
    passages = sorted(index.passages(), key=lambda passage: passage.id)
    passages = passages[:: -(-len(passages) // PASSAGES) or 1]
    cuts = {p.id: cut for p in passages if (cut := _cut(p, kind))}
    often = Counter(question for question, _ in cuts.values())
    texts = "\0".join(passage.text for passage in passages)
    asked = {
        name: question
        for name, (question, _) in cuts.items()
        # what stands in another passage, too, such as the overlap of neighbours, asks for both
        if often[question] == 1 and (kind == "headings" or texts.count(question) == 1)
    }
    if not asked:
        raise InputError(f"The index has no {kind} that tell its {len(passages):,} passages apart.")
    rest = [replace(p, text=cuts[p.id][1]) if p.id in cuts else p for p in passages]
    cut_index = M3Index.open(model=index.model, bm25=index.manifest.bm25)
    report = progress or silent
    cut_index.add(rest, progress=lambda _, n, total: report("encoding passages", n, total))
    queries = [Query(name, question) for name, question in asked.items()]
    return cut_index, Labelled(f"pseudo-{kind}", queries, {name: {name: 1} for name in asked})


def _cut(passage: Passage, kind: str) -> Cut | None:
    question, rest = _heading(passage) if kind == "headings" else _sentence(passage)
    rest = rest.strip()
    return (question, rest) if question and len(rest) >= _SHORTEST else None


def _heading(passage: Passage) -> Cut:
    """The last of the headings that a passage begins with; all of them are cut off."""
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
    """The first sentence, below the headings."""
    _, text = _heading(passage)
    found = sentences(text)
    if not found:
        return "", text
    start, end = found[0]
    return text[start:end], text[end:]
