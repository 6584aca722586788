"""A reader of files and folders for LlamaIndex."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from llama_index.core.readers.base import BaseReader
from llama_index.core.schema import Document, NodeRelationship, TextNode
from llama_index.core.utils import get_tqdm_iterable

from m3rag import documents as core
from m3rag.documents.formats.content import ALL_FIELDS
from m3rag.frameworks import ReadsFiles, check_names, refusing
from m3rag.limits import DEFAULT_LIMITS, Limits
from m3rag.llama_index.node_parser import M3NodeParser
from m3rag.llama_index.nodes import node_of
from m3rag.threads import in_thread


class M3Reader(ReadsFiles, BaseReader):
    """A reader of a file, or of all files of a folder that m3rag can read, such as PDF.

    `load_data` returns each file as one document. `load_nodes` returns its passages, with
    "headings", "page" and the exact span in the text. Their ids and document ids are those of
    `m3rag index` for the same folder: the path of a file in it.

    Example:
        >>> reader = M3Reader("examples/lessons")
        >>> sorted(reader.load_nodes(M3NodeParser(model="tiny"))[0].metadata)
        ['format', 'headings', 'source', 'title']

    Args:
        path: A file or a folder; of a folder, all files that m3rag can read, with those in folders
            below it.
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
        errors: Literal["raise", "warn"] = "raise",
        exclude: Sequence[str] = (),
        follow_links: bool = False,
        limits: Limits = DEFAULT_LIMITS,
        fields: core.Fields = ALL_FIELDS,
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

    def lazy_load_data(self, show_progress: bool = False, **load_kwargs: Any) -> Iterable[Document]:
        """Yield the documents; the next files are read ahead.

        Args:
            show_progress: Whether to show a bar.
            load_kwargs: Not allowed.

        Raises:
            DocumentError: The path does not exist, or a file cannot be read.
        """
        check_names("load_data", load_kwargs, ("show_progress",))
        return map(_document, self._shown(show_progress))

    async def aload_data(self, *args: Any, **load_kwargs: Any) -> list[Document]:
        """Run `load_data` in a thread."""
        return await in_thread(self.load_data, *args, **load_kwargs)

    def load_nodes(
        self, node_parser: M3NodeParser | None = None, show_progress: bool = False
    ) -> list[TextNode]:
        """Return the passages of all documents, with headings, pages and exact spans.

        Args:
            node_parser: Says how long passages are; those of BGE-M3 by default.
            show_progress: Whether to show a bar.
        """
        parser = node_parser or M3NodeParser()
        read = self._shown(show_progress)
        return [node for document in read for node in _nodes(document, parser)]

    async def aload_nodes(
        self, node_parser: M3NodeParser | None = None, show_progress: bool = False
    ) -> list[TextNode]:
        """Run `load_nodes` in a thread."""
        return await in_thread(self.load_nodes, node_parser, show_progress)

    def _shown(self, show_progress: bool) -> Iterable[core.Document]:
        return get_tqdm_iterable(self._read(), show_progress, "Reading documents")


def _document(document: core.Document) -> Document:
    return Document(id_=document.id, text=document.text, metadata=dict(document.metadata))


def _nodes(document: core.Document, parser: M3NodeParser) -> Iterator[TextNode]:
    source = _document(document).as_related_node_info()
    for passage in parser.passages(document):
        node = node_of(passage)
        if isinstance(node, TextNode):
            node.relationships[NodeRelationship.SOURCE] = source
            yield node
