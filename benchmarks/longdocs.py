"""Ways to encode long documents, compared on the set `longdocs_react`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from tuning import markdown

from m3rag import M3Model
from m3rag.encoding import CHANNELS
from m3rag.evaluation import RetrievalSet, measure, score
from m3rag.evaluation.slices import LEVELS, Context
from m3rag.progress import Progress

LONG_SET, FUSION = "longdocs_react", "long-document"
HEAD = ("level", "encoded as", "", "same", "cross")
PAIRS = [
    f"{query}-{document}" for document in ("en", "es") for query in ("en", "es", "zh", "ru", "tr")
]


class LongOptions(TypedDict, total=False):
    """The arguments of `score` that differ between the ways to encode long documents."""

    context: Context
    mcls: int
    max_tokens: int
    overlap: int


MODES: dict[str, LongOptions] = {
    "passages": {},
    "passages in context": {"context": "document"},
    "2,048 tokens": {"max_tokens": 2048, "overlap": 0},
    "2,048 tokens, MCLS": {"mcls": 256, "max_tokens": 2048, "overlap": 0},
}


def long_rows(
    model: M3Model, data: RetrievalSet, every: int, progress: Progress | None = None
) -> list[list[str]]:
    """Return nDCG@10 of each way to encode long documents, by document and by passage.

    Passages are ranked only where they have the usual length: longer ones are easier to hit.

    Returns:
        A row for each level, way, and channel or fusion; `HEAD` names its cells.
    """
    rows = []
    for level in LEVELS:
        for mode, options in MODES.items():
            if level == "passage" and "max_tokens" in options:
                continue
            scores = score(
                model,
                data,
                channels=CHANNELS,
                pairs=PAIRS,
                level=level,
                every=every,
                progress=progress,
                **options,
            )
            report = measure(scores, weights=["cross-lingual", FUSION], metrics=["ndcg@10"])
            parts = (report.same, report.cross)
            rows += [
                [level, mode, name, *(f"{part[name]['ndcg@10']:.3f}" for part in parts)]
                for name in report.channels
            ]
    return rows


def summary(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows of `long_rows` that rank documents with the weights for long documents."""
    found = [row for row in rows if (row[0], row[2]) == ("document", FUSION)]
    return markdown(("encoded as", "same", "cross"), [[row[1], *row[3:]] for row in found])
