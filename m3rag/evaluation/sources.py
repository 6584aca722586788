"""Reading retrieval sets: folders in BEIR format, and the data sets of `ir_datasets`.

`ir_datasets` provides MIRACL, MS MARCO, BEIR, TREC collections and others, each under an id.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from m3rag.errors import InputError
from m3rag.evaluation import beir
from m3rag.evaluation.dataset import UNDETERMINED, CorpusDocument, Qrels, Query, RetrievalSet
from m3rag.extras import require
from m3rag.limits import brief, shown


def read_set(source: str | Path) -> RetrievalSet:
    """Read a folder in BEIR format, or a data set of `ir_datasets` by its id.

    Args:
        source: A folder with `corpus.jsonl`, `queries.jsonl` and `qrels.tsv` (or `qrels/test.tsv`),
            each plain, `.gz` or `.zst`; or an id such as "miracl/es/dev".

    Raises:
        InputError: `source` is neither, a file has an invalid line, or the parts of the set do not
            belong together.
        MissingExtraError: The library that reads `source` is not installed.
    """
    if not isinstance(source, str | Path):
        raise InputError(f"A retrieval set is a folder or an id, got {shown(source)}.")
    try:
        folder = Path(source).expanduser()
        is_folder = folder.is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # a name that is too long, no home, …
        raise InputError(f"{shown(str(source))} cannot be read: {brief(error)}.") from None
    if is_folder:
        return RetrievalSet(folder.resolve().name, *beir.read(folder))
    if isinstance(source, str) and _known(source):
        return RetrievalSet(source, *_read(source))
    raise InputError(
        f"There is no folder {shown(str(source))}, and no data set of ir_datasets has this id. "
        "A retrieval set is a folder with corpus.jsonl, queries.jsonl and qrels.tsv."
    )


RetrievalSet.read = read_set


def _known(id: str) -> bool:
    """Return whether `ir_datasets` has a data set with this id.

    Raises:
        MissingExtraError: `id` has the form of an id, and `ir_datasets` is not installed.
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
    """Return the documents, queries and qrels of a data set; downloads what is missing.

    Raises:
        InputError: The data set has no documents, no queries or no qrels.
    """
    import ir_datasets

    dataset = ir_datasets.load(id)
    for part in ("docs", "queries", "qrels"):
        if not getattr(dataset, f"has_{part}")():
            raise InputError(f"The data set {id!r} has no {part}. Use the id of one of its parts.")
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
