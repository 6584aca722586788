"""Reading a retrieval set, whatever form it has."""

from __future__ import annotations

from pathlib import Path

from m3rag.errors import InputError
from m3rag.evaluation import beir, ir_datasets
from m3rag.evaluation.dataset import RetrievalSet


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
    if isinstance(source, str) and ir_datasets.known(source):
        return RetrievalSet(source, *ir_datasets.read(source))
    raise InputError(
        f"There is no folder {str(source)!r}, and no data set of ir_datasets has this id. "
        "A set is a folder with corpus.jsonl, queries.jsonl and qrels.tsv."
    )
