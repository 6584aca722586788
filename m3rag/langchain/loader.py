"""A loader of files and folders for LangChain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from langchain_core.document_loaders import BaseLoader
from langchain_core.documents import Document

from m3rag.documents import Fields
from m3rag.documents.formats.content import ALL_FIELDS
from m3rag.errors import InputError
from m3rag.frameworks import ReadsFiles, refusing
from m3rag.langchain.documents import to_document
from m3rag.langchain.splitter import M3TextSplitter
from m3rag.limits import DEFAULT_LIMITS, Limits, shown


class M3Loader(ReadsFiles, BaseLoader):
    """A loader of a file, or of all files of a folder that m3rag can read, such as PDF.

    Without a splitter, it returns each file as one document, and the files in it, such as the
    attachments of a mail, as others. With one, it returns their passages, with "headings", "page"
    and the exact span in the text. Their ids and document ids are those of `m3rag index` for the
    same folder: the path of a file in it.

    Example:
        >>> loader = M3Loader("examples/lessons", splitter=M3TextSplitter("tiny"))
        >>> sorted(next(loader.lazy_load()).metadata)
        ['document_id', 'end', 'format', 'headings', 'source', 'start', 'title']

    Args:
        path: A file or a folder; of a folder, all files that m3rag can read, with those in folders
            below it.
        splitter: Splits the documents.
        errors: "raise" stops at a file that cannot be read, "warn" warns and goes on.
        exclude: Patterns of what to leave out of a folder, with the syntax of .gitignore, such as
            ["drafts/", "*.log"]; files named .m3ragignore have such patterns, too.
        follow_links: Whether to follow links out of the folder.
        limits: The largest files, and how long reading one may take.
        fields: Which fields of the records of .csv, .json and .jsonl files are read.
        encoding: The encoding, such as "windows-1251", of text files that are not UTF-8 and do not
            say what they are.
        ocr: The languages in which the program Tesseract reads images and pages that are images,
            such as "eng+ara"; None to read none.

    Raises:
        ArgumentError: An argument does not exist.
        InputError: An argument has a value that it cannot have.
    """

    @refusing
    def __init__(
        self,
        path: str | Path,
        *,
        splitter: M3TextSplitter | None = None,
        errors: Literal["raise", "warn"] = "raise",
        exclude: Sequence[str] = (),
        follow_links: bool = False,
        limits: Limits = DEFAULT_LIMITS,
        fields: Fields = ALL_FIELDS,
        encoding: str | None = None,
        ocr: str | None = None,
    ) -> None:
        super().__init__(
            path,
            errors=errors,
            exclude=exclude,
            follow_links=follow_links,
            limits=limits,
            fields=fields,
            encoding=encoding,
            ocr=ocr,
        )
        if splitter is not None and not isinstance(splitter, M3TextSplitter):
            raise InputError(
                "`splitter` must be an M3TextSplitter, which keeps headings, pages and spans, got "
                f"{shown(splitter)}. Others split what the loader returns without one."
            )
        self.splitter = splitter

    def lazy_load(self) -> Iterator[Document]:
        """Yield the documents or passages; the next files are read ahead.

        Raises:
            DocumentError: The path does not exist, or a file cannot be read.
        """
        for document in self._read():
            if self.splitter is None:
                yield Document(document.text, id=document.id, metadata=dict(document.metadata))
            else:
                yield from map(to_document, self.splitter.passages(document))

    def __repr__(self) -> str:
        return f"M3Loader({str(self.path)!r}, splitter={self.splitter!r})"
