"""A node parser for LlamaIndex that splits documents by the model's tokens."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from llama_index.core.bridge.pydantic import Field
from llama_index.core.node_parser import TextSplitter
from llama_index.core.node_parser.interface import IdFuncCallable
from llama_index.core.schema import (
    BaseNode,
    Document,
    MetadataMode,
    NodeRelationship,
    TextNode,
)
from llama_index.core.utils import get_tqdm_iterable

from m3rag import documents
from m3rag.documents.formats import markdown
from m3rag.frameworks import TABLE_HEADER, ModelLike
from m3rag.llama_index.component import UsesModel
from m3rag.llama_index.nodes import HEADINGS
from m3rag.threads import in_thread

_NAMESPACE = uuid.UUID("2f0d6a52-5a0e-5b39-9a53-0f6f3b1f7a44")  # ids depend on it; never change it


def passage_id(i: int, document: BaseNode) -> str:
    """Return the id of passage `i`, the same for every split: a UUID, as Qdrant requires."""
    return str(uuid.uuid5(_NAMESPACE, f"{document.node_id}#{i}"))


class M3NodeParser(UsesModel, TextSplitter):
    r"""A node parser that splits documents into passages of at most `max_tokens` tokens.

    Cuts at the strongest boundary near the limit: heading, paragraph, sentence, clause or word.

    Example:
        >>> parser = M3NodeParser(model="tiny", max_tokens=256)
        >>> document = Document(text="# Ferns\n\nThey like shade.", id_="ferns.md")
        >>> parser.get_nodes_from_documents([document])[0].metadata["headings"]
        ['Ferns']

    The text of a node is exactly `document.text[node.start_char_idx:node.end_char_idx]`, and its
    metadata contain "headings", the titles above it, highest first. One that continues a table has
    "table_header", the names of its columns, which are encoded with the text. Node ids are derived
    from the id of the document, so splitting it again gives the same ids.

    Args:
        model: An `M3Model`, or a name for `M3Model.load`; BGE-M3 by default. Only its tokenizer is
            used.
        settings: The fields.

    Attributes:
        max_tokens: The longest passage in tokens, `<s>` and `</s>` included; at least 16. By
            default the length that suits the model, such as 512 for BGE-M3.
        overlap: The most tokens of a passage that the next one repeats, in whole sentences; an
            eighth of `max_tokens` by default.
        markdown: Whether lines such as `## Title` are headings.
        embed_metadata: Whether metadata are encoded before the text, as by default in LlamaIndex.
            They do not count towards `max_tokens`, and common file names make the vectors of
            passages more alike.
        id_func: The function (number, node) that returns the id of a passage.
    """

    max_tokens: int | None = Field(default=None, ge=documents.splitting.SMALLEST_LIMIT)
    overlap: int | None = Field(default=None, ge=0)
    markdown: bool = True
    embed_metadata: bool = False
    id_func: IdFuncCallable = Field(default=passage_id)

    def __init__(self, *, model: ModelLike = None, **settings: Any) -> None:
        super().__init__(model=model, **settings)

    @classmethod
    def from_defaults(cls, model: ModelLike = None, **settings: Any) -> Self:
        """Return a parser, as LlamaIndex's own parsers do; the arguments are the constructor's."""
        return cls(model=model, **settings)

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex saves the component."""
        return "M3NodeParser"

    if TYPE_CHECKING:

        def get_nodes_from_documents(  # type: ignore[override]
            self, documents: Sequence[Document], show_progress: bool = False, **kwargs: Any
        ) -> list[TextNode]:
            """Return the passages of documents."""

        async def aget_nodes_from_documents(  # type: ignore[override]
            self, documents: Sequence[Document], show_progress: bool = False, **kwargs: Any
        ) -> list[TextNode]:
            """Run `get_nodes_from_documents` in a thread."""

    def split_text(self, text: str) -> list[str]:
        """Return the texts of the passages of a text."""
        return [passage.text for passage in self._passages("text", text)]

    def _parse_nodes(
        self, nodes: Sequence[BaseNode], show_progress: bool = False, **kwargs: Any
    ) -> list[BaseNode]:
        shown = get_tqdm_iterable(nodes, show_progress, "Splitting documents")
        return [passage for node in shown for passage in self._split(node)]

    async def _aparse_nodes(
        self, nodes: Sequence[BaseNode], show_progress: bool = False, **kwargs: Any
    ) -> list[BaseNode]:
        return await in_thread(self._parse_nodes, nodes, show_progress, **kwargs)

    def _postprocess_parsed_nodes(
        self, nodes: list[BaseNode], parent_doc_map: dict[str, Document]
    ) -> list[BaseNode]:
        # With the documents, LlamaIndex would search them for each text and misplace repeats.
        nodes = super()._postprocess_parsed_nodes(nodes, {})
        for node in nodes:
            if node.metadata.get(TABLE_HEADER) == "":  # a part that needs not that of the whole
                del node.metadata[TABLE_HEADER]
            if not self.embed_metadata:
                hidden = [*node.excluded_embed_metadata_keys, *node.metadata]
                hidden = [key for key in hidden if key != TABLE_HEADER]
                node.excluded_embed_metadata_keys = list(dict.fromkeys(hidden))
        return nodes

    def _split(self, node: BaseNode) -> list[TextNode]:
        header = node.metadata.get(TABLE_HEADER)
        header = header if isinstance(header, str) else ""
        passages = self._passages(node.node_id, node.get_content(MetadataMode.NONE), header)
        source = node.source_node or node.as_related_node_info()
        offset = getattr(node, "start_char_idx", None) or 0
        return [
            TextNode(
                id_=self.id_func(i, node),
                text=passage.text,
                metadata=_metadata(passage, header),
                excluded_embed_metadata_keys=list(node.excluded_embed_metadata_keys),
                excluded_llm_metadata_keys=list(node.excluded_llm_metadata_keys),
                start_char_idx=offset + (passage.start or 0),
                end_char_idx=offset + (passage.end or 0),
                relationships={NodeRelationship.SOURCE: source},
            )
            for i, passage in enumerate(passages)
        ]

    def passages(self, document: documents.Document) -> list[documents.Passage]:
        """Return the passages of a document that `m3rag.read` returned."""
        return self._cut(document)

    def _passages(self, name: str, text: str, header: str = "") -> list[documents.Passage]:
        headings = markdown.headings(text) if self.markdown else ()
        return self._cut(documents.Document(name, text, headings), header)

    def _cut(self, document: documents.Document, header: str = "") -> list[documents.Passage]:
        return documents.split(
            document,
            self.tokenizer,
            max_tokens=self.passage_tokens if self.max_tokens is None else self.max_tokens,
            overlap=self.overlap,
            table_header=header,
        )


def _metadata(passage: documents.Passage, header: str) -> dict[str, Any]:
    """Return the metadata of a passage of a text that starts in a table with a header, or ""."""
    titles: dict[str, Any] = {HEADINGS: list(passage.headings)} if passage.headings else {}
    needed = passage.table_header
    return titles | ({TABLE_HEADER: needed} if needed or header else {})
