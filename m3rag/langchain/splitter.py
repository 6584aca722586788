"""A text splitter for LangChain that counts the model's tokens."""

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
    r"""A splitter that cuts documents at headings, paragraphs and sentences; see `m3rag.split`.

    Each passage keeps the metadata of its document and adds "document_id", "start" and "end", so
    that `document.page_content[start:end] == passage.page_content`, and "headings", the titles
    above it (if there are any). Its id is the id of the document, "#" and a number.

    Example:
        >>> splitter = M3TextSplitter("tiny", chunk_size=32, chunk_overlap=0)
        >>> document = Document("# Ferns\n\nThey like shade.", id="ferns.md")
        >>> [passage.metadata["headings"] for passage in splitter.split_documents([document])]
        [['Ferns']]

    Args:
        model: The model whose tokens are counted, or its name; BAAI/bge-m3 by default.
        chunk_size: The longest passage in tokens, `<s>` and `</s>` included.
        chunk_overlap: The most tokens at the end of a passage that the next one repeats, in whole
            sentences; less than half of `chunk_size`.
        markdown: Whether to recognize Markdown headings.
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
        """Return the texts of the passages of a text."""
        return [passage.page_content for passage in self.split_documents([Document(text)])]

    def create_documents(
        self, texts: Sequence[str], metadatas: Sequence[dict[str, Any]] | None = None
    ) -> list[Document]:
        """Return the passages of texts with optional metadata for each text."""
        return self.split_documents(documents_of(texts, metadatas, None))

    def split_documents(self, documents: Iterable[Document]) -> list[Document]:
        """Return the passages of all documents, in order; a document without text has none.

        Raises:
            InputError: `chunk_size` or `chunk_overlap` is out of range, or a text is not Unicode.
        """
        return [passage for document in documents for passage in self._passages(document)]

    def transform_documents(self, documents: Sequence[Document], **kwargs: Any) -> list[Document]:
        """Run `split_documents`, as LangChain's interface for document transformers."""
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
