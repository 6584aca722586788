"""Scores of documents in several languages, made comparable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from m3rag.evaluation.data import RetrievalSet
from m3rag.evaluation.scores import Scores, SliceScores
from m3rag.scoring import balanced


def balance(scores: Scores, data: RetrievalSet) -> Scores:
    """Scores without the advantage of the query's own language.

    Every channel scores passages of the query's language higher than others, relevant or not. For
    each query and channel, the scores of the passages of one language get the mean and the
    deviation that the query's scores have as a whole. Weights keep their meaning; a lexical score
    of 0 no longer says that nothing is shared, so weigh the result, and do not fuse it by ranks.
    `M3Index.search(..., balance="lang")` does the same among its candidates.

    Args:
        scores: of a corpus whose languages are ranked together (`pairs="pooled"`).
        data: the set they are of, which knows the documents' languages.
    """
    languages = {document.id: document.language for document in data.corpus}
    return replace(scores, slices=[_balanced(one, languages) for one in scores.slices])


def _balanced(one: SliceScores, languages: Mapping[str, str]) -> SliceScores:
    spoken = np.array([languages[p.document_id or p.id] for p in one.slice.passages])
    return replace(one, channels={c: balanced(s, spoken) for c, s in one.channels.items()})
