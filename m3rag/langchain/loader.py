"""A loader of files and folders for LangChain."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from langchain_core.document_loaders import BaseLoader
from langchain_core.documents import Document

from m3rag import documents as core
from m3rag.errors import DocumentError, InputError
from m3rag.frameworks import refusing
from m3rag.langchain.documents import to_document
from m3rag.langchain.splitter import M3TextSplitter
from m3rag.limits import DEFAULT_LIMITS, Limits, shown


class M3Loader(BaseLoader):
    """A loader of Markdown, text, HTML, PDF and Word files, or of a folder of them.

    Without a splitter, it returns each file as one document. With one, it returns its passages,
    with "headings", "page" and the exact span in the text. Their ids and document ids are those of
    `m3rag index` for the same folder: the path of a file in it.

    Example:
        >>> loader = M3Loader("examples/lessons", splitter=M3TextSplitter("tiny"))
        >>> sorted(next(loader.lazy_load()).metadata)
        ['document_id', 'end', 'format', 'headings', 'source', 'start', 'title']

    Args:
        path: A file or a folder; of a folder, all files that m3rag can read, with those in folders
            below it.
        splitter: Splits the documents.
        errors: "raise" stops at a file that cannot be read, "warn" warns and goes on.
        follow_links: Whether to follow links out of the folder.
        limits: The largest files, and how long reading one may take.

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
        follow_links: bool = False,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        if not isinstance(path, str | Path):
            raise InputError(f"`path` must be a file or a folder, got {shown(path)}.")
        if errors not in ("raise", "warn"):
            raise InputError(f'`errors` must be "raise" or "warn", got {shown(errors)}.')
        if splitter is not None and not isinstance(splitter, M3TextSplitter):
            raise InputError(
                "`splitter` must be an M3TextSplitter, which keeps headings, pages and spans, got "
                f"{shown(splitter)}. Others split what the loader returns without one."
            )
        self.path = Path(path)
        self.splitter = splitter
        self.errors = errors
        self.follow_links = follow_links
        self.limits = limits

    def lazy_load(self) -> Iterator[Document]:
        """Yield the documents or passages; each file is read when its first one is needed.

        Raises:
            DocumentError: The path does not exist, or a file cannot be read.
        """
        for path, name in self._files():
            try:
                document = core.read(path, id=name, limits=self.limits)
            except DocumentError as error:
                if self.errors == "raise":
                    raise
                warnings.warn(f"Left out: {error}", stacklevel=2)
                continue
            if self.splitter is None:
                yield Document(document.text, id=name, metadata=dict(document.metadata))
            else:
                yield from map(to_document, self.splitter.passages(document))

    def _files(self) -> Iterator[tuple[Path, str]]:
        """Yield each file with its id."""
        if not self.path.is_dir() and self.path.exists():
            yield self.path, self.path.name
            return
        listing = core.scan(self.path, follow_links=self.follow_links, limits=self.limits)
        for name in listing.files:
            yield listing.root / name, str(name)

    def __repr__(self) -> str:
        return f"M3Loader({str(self.path)!r}, splitter={self.splitter!r})"
