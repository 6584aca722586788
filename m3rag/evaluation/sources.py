"""Where retrieval sets come from: folders in BEIR form, and the data sets of `ir_datasets`.

`ir_datasets` has MIRACL, MS MARCO, BEIR, TREC collections and others, by id.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from m3rag.errors import InputError
from m3rag.evaluation import beir
from m3rag.evaluation.dataset import UNDETERMINED, CorpusDocument, Qrels, Query, RetrievalSet
from m3rag.extras import require


def read_set(source: str | Path) -> RetrievalSet:
    """Read a folder in BEIR form, or a data set of `ir_datasets` by its id.

    Args:
        source: A folder with `corpus.jsonl`, `queries.jsonl` and `qrels.tsv` (or `qrels/test.tsv`),
            each plain, `.gz` or `.zst`; or an id such as "miracl/es/dev".

    Raises:
        InputError: It is neither, or the parts of the set do not fit together.
        MissingExtraError: The library that reads it is not installed.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return RetrievalSet(folder.resolve().name, *beir.read(folder))
    if isinstance(source, str) and _known(source):
        return RetrievalSet(source, *_read(source))
    raise InputError(
        f"There is no folder {str(source)!r}, and no data set of ir_datasets has this id. "
        "A set is a folder with corpus.jsonl, queries.jsonl and qrels.tsv."
    )


def _known(id: str) -> bool:
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


def _read(id: str) -> tuple[list[CorpusDocument], list[Query], Qrels]:
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
