"""A docstore for LlamaIndex that reads the nodes of an index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from llama_index.core.schema import BaseNode
from llama_index.core.storage.docstore import BaseDocumentStore
from llama_index.core.storage.docstore.types import RefDocInfo
from llama_index.core.vector_stores.types import MetadataFilters

from m3rag.errors import InputError
from m3rag.frameworks import IndexLike, index_of, refusing
from m3rag.limits import shown
from m3rag.llama_index.base_filters import base_of
from m3rag.llama_index.metadata_filters import Where, all_of, where_of
from m3rag.llama_index.nodes import node_of
from m3rag.threads import in_thread


class M3DocumentStore(BaseDocumentStore):
    """A docstore that reads the nodes of an index, so that they are not stored a second time.

    For `PrevNextNodePostprocessor(docstore=store.docstore)` and everything else that looks nodes
    up. Nothing can be written: nodes are added to the store. For parents that are not stored, there
    is `M3AutoMergingRetriever`.

    Example:
        >>> store = M3VectorStore.from_nodes([TextNode(text="Ferns.", id_="a")], model="tiny")
        >>> store.docstore.get_node("a").text
        'Ferns.'

    Args:
        index: The index, or what has one; base filters of a store hold here too.
        base_filters: Filters that all nodes match.
    """

    @refusing
    def __init__(self, index: IndexLike, *, base_filters: MetadataFilters | None = None) -> None:
        self._index = index_of(index)
        self._base = where_of(base_of(index, base_filters), "base_filters")

    @property
    def docs(self) -> dict[str, BaseNode]:
        """All nodes, by id."""
        return {node.node_id: node for node in self._nodes()}

    def get_document(self, doc_id: str, raise_error: bool = True) -> BaseNode | None:
        """Return the node with an id.

        Raises:
            InputError: There is none, and `raise_error` is true.
        """
        found = next(self._nodes({"$id": [doc_id]}), None)
        if found is None and raise_error:
            raise InputError(
                f"No node with the id {shown(doc_id)} is stored. For the parents of stored nodes, "
                "use M3AutoMergingRetriever."
            )
        return found

    def document_exists(self, doc_id: str) -> bool:
        """Return whether `get_document` finds a node with an id."""
        return self.get_document(doc_id, raise_error=False) is not None

    def get_document_hash(self, doc_id: str) -> str | None:
        """Return the hash of a node; None if it is not stored."""
        found = self.get_document(doc_id, raise_error=False)
        return None if found is None else found.hash

    def get_all_document_hashes(self) -> dict[str, str]:
        """Return the id of a node for each hash, as LlamaIndex's docstores do."""
        return {node.hash: node.node_id for node in self._nodes()}

    def get_ref_doc_info(self, ref_doc_id: str) -> RefDocInfo | None:
        """Return the nodes of a source document; None if there are none."""
        return self._documents({"$document_id": ref_doc_id}).get(ref_doc_id)

    def get_all_ref_doc_info(self) -> dict[str, RefDocInfo]:
        """Return the nodes of each source document."""
        return self._documents()

    async def aget_document(self, doc_id: str, raise_error: bool = True) -> BaseNode | None:
        """Run `get_document` in a thread."""
        return await in_thread(self.get_document, doc_id, raise_error)

    async def adocument_exists(self, doc_id: str) -> bool:
        """Run `document_exists` in a thread."""
        return await in_thread(self.document_exists, doc_id)

    async def aget_document_hash(self, doc_id: str) -> str | None:
        """Run `get_document_hash` in a thread."""
        return await in_thread(self.get_document_hash, doc_id)

    async def aget_all_document_hashes(self) -> dict[str, str]:
        """Run `get_all_document_hashes` in a thread."""
        return await in_thread(self.get_all_document_hashes)

    async def aget_ref_doc_info(self, ref_doc_id: str) -> RefDocInfo | None:
        """Run `get_ref_doc_info` in a thread."""
        return await in_thread(self.get_ref_doc_info, ref_doc_id)

    async def aget_all_ref_doc_info(self) -> dict[str, RefDocInfo]:
        """Run `get_all_ref_doc_info` in a thread."""
        return await in_thread(self.get_all_ref_doc_info)

    def add_documents(self, docs: Sequence[BaseNode], *args: Any, **settings: Any) -> NoReturn:
        """Refuse."""
        raise _read_only()

    def delete_document(self, doc_id: str, raise_error: bool = True) -> NoReturn:
        """Refuse."""
        raise _read_only()

    def delete_ref_doc(self, ref_doc_id: str, raise_error: bool = True) -> NoReturn:
        """Refuse."""
        raise _read_only()

    def set_document_hash(self, doc_id: str, doc_hash: str) -> NoReturn:
        """Refuse."""
        raise _read_only()

    def set_document_hashes(self, doc_hashes: dict[str, str]) -> NoReturn:
        """Refuse."""
        raise _read_only()

    async def async_add_documents(
        self, docs: Sequence[BaseNode], *args: Any, **settings: Any
    ) -> NoReturn:
        """Refuse."""
        raise _read_only()

    async def adelete_document(self, doc_id: str, raise_error: bool = True) -> NoReturn:
        """Refuse."""
        raise _read_only()

    async def adelete_ref_doc(self, ref_doc_id: str, raise_error: bool = True) -> NoReturn:
        """Refuse."""
        raise _read_only()

    async def aset_document_hash(self, doc_id: str, doc_hash: str) -> NoReturn:
        """Refuse."""
        raise _read_only()

    async def aset_document_hashes(self, doc_hashes: dict[str, str]) -> NoReturn:
        """Refuse."""
        raise _read_only()

    def _nodes(self, where: Where | None = None) -> Iterator[BaseNode]:
        return map(node_of, self._index.passages(all_of(self._base, where)))

    def _documents(self, where: Where | None = None) -> dict[str, RefDocInfo]:
        found: dict[str, RefDocInfo] = {}
        for node in self._nodes(where):
            if node.ref_doc_id is not None:
                info = found.setdefault(node.ref_doc_id, RefDocInfo(metadata=node.metadata))
                info.node_ids.append(node.node_id)
        return found


def _read_only() -> InputError:
    return InputError(
        "The docstore of an index can only be read. Add nodes to the M3VectorStore, or delete them "
        "there."
    )
