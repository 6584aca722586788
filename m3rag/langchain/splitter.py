"""A text splitter for LangChain that counts the model's tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from langchain_core.documents import Document
from langchain_text_splitters import TextSplitter

from m3rag import documents as core
from m3rag.documents.formats import markdown
from m3rag.documents.splitting import usual_overlap
from m3rag.encoder import Tokenizer
from m3rag.frameworks import TABLE_HEADER, ModelLike, model_of, refusing
from m3rag.langchain.documents import digest, documents_of, to_document
from m3rag.langchain.sharing import SharesModel


class M3TextSplitter(SharesModel, TextSplitter):
    r"""A splitter that cuts documents at headings, paragraphs and sentences; see `m3rag.split`.

    Each passage keeps the metadata of its document and adds "document_id", "start" and "end", so
    that `document.page_content[start:end] == passage.page_content`, and "headings", the titles
    above it (if there are any). One that continues a table has "table_header", the names of its
    columns, which m3rag's classes encode with the text. Its id is the id of the document, "#" and a
    number. The passages of a passage refer to the document that it comes from.

    It is a LangChain `TextSplitter`, so it fits wherever LangChain takes one, for example as
    `child_splitter` of `ParentDocumentRetriever`.

    Example:
        >>> splitter = M3TextSplitter("tiny", chunk_size=32, chunk_overlap=0)
        >>> document = Document("# Ferns\n\nThey like shade.", id="ferns.md")
        >>> [passage.metadata["headings"] for passage in splitter.split_documents([document])]
        [['Ferns']]

    Args:
        model: The model whose tokens are counted, or its name; BAAI/bge-m3 by default.
        chunk_size: The longest passage in tokens, `<s>` and `</s>` included; by default, the
            model's `passage_tokens`.
        chunk_overlap: The most tokens at the end of a passage that the next one repeats, in whole
            sentences; less than half of `chunk_size`, by default an eighth of it.
        markdown: Whether to recognize Markdown headings.
        add_start_index: Whether to add LangChain's "start_index", which equals "start".

    Raises:
        ArgumentError: An argument does not exist.
        InputError: `chunk_size` or `chunk_overlap` is out of range.
    """

    @refusing
    def __init__(
        self,
        model: ModelLike = None,
        *,
        chunk_size: int | None = None,
        chunk_overlap: int | None = None,
        markdown: bool = True,
        add_start_index: bool = False,
    ) -> None:
        self.model = model_of(model)
        if chunk_size is None:
            chunk_size = self.model.passage_tokens
        if chunk_overlap is None:
            chunk_overlap = usual_overlap(chunk_size)
        nothing = core.Document("nothing", "")  # checks the limits
        core.split(nothing, self.tokenizer, max_tokens=chunk_size, overlap=chunk_overlap)
        super().__init__(
            chunk_size=chunk_size,
            chunk_overlap=chunk_overlap,
            length_function=self.length,
            add_start_index=add_start_index,
        )
        self.chunk_size = chunk_size
        self.chunk_overlap = chunk_overlap
        self.markdown = markdown

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the model."""
        return self.model.tokenizer

    def length(self, text: str) -> int:
        """Return the tokens of a text, `<s>` and `</s>` included."""
        return len(self.tokenizer.ids([text])[0]) + 2

    def split_text(self, text: str) -> list[str]:
        """Return the texts of the passages of a text."""
        return [passage.page_content for passage in self.split_documents([Document(text)])]

    def create_documents(
        self, texts: Sequence[str], metadatas: Sequence[Mapping[str, Any]] | None = None
    ) -> list[Document]:
        """Return the passages of texts with optional metadata for each text."""
        return self.split_documents(documents_of(texts, metadatas, None))

    def split_documents(self, documents: Iterable[Document]) -> list[Document]:
        """Return the passages of all documents, in order; a document without text has none.

        Raises:
            InputError: A text is not Unicode.
        """
        return [passage for document in documents for passage in self._passages(document)]

    def transform_documents(self, documents: Sequence[Document], **kwargs: Any) -> list[Document]:
        """Run `split_documents`, as LangChain's interface for document transformers."""
        return self.split_documents(documents)

    def passages(self, document: core.Document) -> list[core.Passage]:
        """Return the passages of a document that `m3rag.read` returned."""
        return self._split(document)

    def _split(self, document: core.Document, table_header: str = "") -> list[core.Passage]:
        return core.split(
            document,
            self.tokenizer,
            max_tokens=self.chunk_size,
            overlap=self.chunk_overlap,
            table_header=table_header,
        )

    def _passages(self, document: Document) -> list[Document]:
        text, metadata = document.page_content, dict(document.metadata)
        header = metadata.pop(TABLE_HEADER, "")  # of a passage; not all of its parts need it
        whole = core.Document(
            id=document.id or digest(document),
            text=text,
            headings=markdown.headings(text) if self.markdown else (),
            metadata=metadata,
        )
        passages = self._split(whole, header if isinstance(header, str) else "")
        found = [to_document(_in_document(passage, metadata)) for passage in passages]
        if self._add_start_index:
            for passage in found:
                passage.metadata["start_index"] = passage.metadata["start"]
        return found

    def __repr__(self) -> str:
        sizes = f"chunk_size={self.chunk_size}, chunk_overlap={self.chunk_overlap}"
        return f"M3TextSplitter({self.model.name!r}, {sizes})"


def _in_document(passage: core.Passage, parent: Mapping[str, Any]) -> core.Passage:
    """Return a passage with its place in the document, if what was split is itself a passage."""
    name, start = parent.get("document_id"), parent.get("start")
    if not isinstance(name, str) or type(start) is not int or start < 0:
        return passage
    above = [title for title in parent.get("headings") or () if isinstance(title, str)]
    below = [title for title in passage.headings if title not in above]
    return replace(
        passage,
        document_id=name,
        start=start + (passage.start or 0),
        end=start + (passage.end or 0),
        headings=(*above, *below),
    )
