"""Long documents to passages, counted in the model's own tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from langchain_core.documents import BaseDocumentTransformer, Document

from m3rag import documents as core
from m3rag.documents.formats import markdown
from m3rag.langchain.documents import digest, documents_of, to_document
from m3rag.model import M3Model
from m3rag.model.shared import model_of


class M3TextSplitter(BaseDocumentTransformer):
    r"""Cuts documents at their own structure, into passages the model takes whole.

    Headings, paragraphs, sentences decide where; see `m3rag.split`. To the metadata of its
    document each passage adds "document_id", "start" and "end", so that
    `document.page_content[start:end] == passage.page_content`, and "headings", the titles above it
    (if there are any). Its id is the document's, "#", and a number.

    Example:
        >>> splitter = M3TextSplitter("tiny", chunk_size=32, chunk_overlap=0)
        >>> document = Document("# Ferns\n\nThey like shade.", id="ferns.md")
        >>> [passage.metadata["headings"] for passage in splitter.split_documents([document])]
        [['Ferns']]

    Args:
        model: Whose tokens count: a model, or its name; BAAI/bge-m3 by default.
        chunk_size: The longest passage in tokens, `<s>` and `</s>` included.
        chunk_overlap: How many tokens of a passage's end the next one may repeat, in whole
            sentences; less than half of `chunk_size`.
        markdown: Whether to look for Markdown headings.
    """

    def __init__(
        self,
        model: M3Model | str | Path | None = None,
        *,
        chunk_size: int = 512,
        chunk_overlap: int = 64,
        markdown: bool = True,
    ) -> None:
        self.tokenizer = model_of(model).tokenizer
        self.chunk_size = chunk_size
        self.chunk_overlap = chunk_overlap
        self.markdown = markdown

    def split_text(self, text: str) -> list[str]:
        """The texts of the passages."""
        return [passage.page_content for passage in self.split_documents([Document(text)])]

    def create_documents(
        self, texts: Sequence[str], metadatas: Sequence[dict[str, Any]] | None = None
    ) -> list[Document]:
        """The passages of texts, with metadata for each text."""
        return self.split_documents(documents_of(texts, metadatas, None))

    def split_documents(self, documents: Iterable[Document]) -> list[Document]:
        """The passages of all documents, in order; a document without text has none.

        Raises:
            InputError: A limit is out of range, or a text is not Unicode.
        """
        return [passage for document in documents for passage in self._passages(document)]

    def transform_documents(self, documents: Sequence[Document], **kwargs: Any) -> list[Document]:
        """`split_documents`, as a document transformer."""
        return self.split_documents(documents)

    def _passages(self, document: Document) -> list[Document]:
        whole = core.Document(
            id=document.id or digest(document),
            text=document.page_content,
            headings=markdown.headings(document.page_content) if self.markdown else (),
            metadata=document.metadata,
        )
        passages = core.split(
            whole, self.tokenizer, max_tokens=self.chunk_size, overlap=self.chunk_overlap
        )
        return [to_document(passage) for passage in passages]
