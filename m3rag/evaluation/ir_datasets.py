"""Sets of `ir_datasets` by their id: MIRACL, MS MARCO, BEIR, TREC collections and others."""

from __future__ import annotations

from importlib.util import find_spec

from m3rag.errors import InputError
from m3rag.evaluation.dataset import UNDETERMINED, CorpusDocument, Qrels, Query
from m3rag.extras import require


def known(id: str) -> bool:
    """Whether `ir_datasets` has a data set of this id.

    Raises:
        MissingExtraError: it looks like an id, and `ir_datasets` is not installed.
    """
    if "/" not in id or id.startswith(("/", ".", "~")):
        return False
    if find_spec("ir_datasets") is None:
        require("ir_datasets", "ir-datasets")
    import ir_datasets

    try:
        ir_datasets.load(id)
    except KeyError:
        return False
    return True


def read(id: str) -> tuple[list[CorpusDocument], list[Query], Qrels]:
    """The three parts of a data set; downloads what `ir_datasets` has not downloaded yet.

    Raises:
        InputError: it has no documents, no queries or no qrels.
    """
    import ir_datasets

    dataset = ir_datasets.load(id)
    for part in ("docs", "queries", "qrels"):
        if not getattr(dataset, f"has_{part}")():
            raise InputError(f"The data set {id!r} has no {part}; choose one of its parts.")
    language = dataset.docs_lang() or UNDETERMINED
    corpus = [
        CorpusDocument(document.doc_id, document.default_text(), language)
        for document in dataset.docs_iter()
    ]
    language = dataset.queries_lang() or UNDETERMINED
    queries = [
        Query(query.query_id, query.default_text(), language) for query in dataset.queries_iter()
    ]
    grades: dict[str, dict[str, int]] = {}
    for judged in dataset.qrels_iter():
        grades.setdefault(judged.query_id, {})[judged.doc_id] = int(judged.relevance)
    return corpus, queries, grades
