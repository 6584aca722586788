"""Make components over an index, and add nodes to it, as the store and the retrievers do."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any, Self

from llama_index.core.node_parser import NodeParser
from llama_index.core.schema import BaseNode, Document

from m3rag.closing import closed_on_errors
from m3rag.index.upsert import Upserted
from m3rag.llama_index.nodes import node_list
from m3rag.llama_index.progress_bar import shown_progress
from m3rag.llama_index.stored_nodes import StoredNodes
from m3rag.llama_index.versions import store_nodes, upsert, upsert_nodes
from m3rag.progress import Progress
from m3rag.threads import in_thread


class NodeCollection(StoredNodes):
    """A mixin with the life cycle of an index and its nodes.

    The classes that use it have an `index`, `base_filters`, and `_opened` to open an index.
    """

    @classmethod
    def from_nodes(
        cls,
        nodes: Sequence[BaseNode],
        *,
        progress: Progress | None = None,
        show_progress: bool = False,
        **settings: Any,
    ) -> Self:
        """Return a component over nodes, in memory or in a folder that may have some already.

        Nodes that are stored already are not encoded again. Stored nodes of the same documents that
        are not among the new ones are deleted: pass all nodes of a document, or use `add_nodes`.

        Args:
            nodes: The nodes; a node replaces a stored one with the same id.
            progress: Called with ("adding passages", done, total).
            show_progress: Whether to show a bar.
            settings: The arguments of the constructor, without `index`: `path`, `model`, and
                arguments of `M3Index.open` such as `colbert`. Without a model, an existing folder
                gets its own, and a new index BAAI/bge-m3.

        Raises:
            InputError: A setting is out of range, or a node cannot be stored.
        """
        nodes = node_list(nodes)
        opened = cls._opened("from_nodes", settings)
        with closed_on_errors(opened), shown_progress(progress, show_progress) as report:
            upsert_nodes(opened.index, nodes, opened.base_filters, progress=report)
        return opened

    @classmethod
    def from_documents(
        cls,
        documents: Sequence[Document],
        *,
        node_parser: NodeParser | None = None,
        progress: Progress | None = None,
        show_progress: bool = False,
        **settings: Any,
    ) -> Self:
        """Return a component over the passages of documents; see `upsert_documents`.

        Args:
            documents: Documents of any length, split by `node_parser`.
            node_parser: Splits the documents; an `M3NodeParser` of the index's model by default.
            progress: Called with ("adding passages", done, total).
            show_progress: Whether to show bars.
            settings: As for `from_nodes`.
        """
        documents = node_list(documents, "documents")
        opened = cls._opened("from_documents", settings)
        with closed_on_errors(opened), shown_progress(progress, show_progress) as report:
            upsert(
                opened.index,
                documents,
                node_parser,
                show_progress,
                base=opened.base_filters,
                progress=report,
            )
        return opened

    @classmethod
    async def afrom_documents(cls, documents: Sequence[Document], **settings: Any) -> Self:
        """Run `from_documents` in a thread."""
        return await in_thread(partial(cls.from_documents, documents, **settings))

    def add_nodes(
        self,
        nodes: Sequence[BaseNode],
        *,
        progress: Progress | None = None,
        show_progress: bool = False,
        durable: bool = False,
    ) -> list[str]:
        """Encode and store nodes; return the id of each.

        A node replaces a stored one with the same id. Nodes that are stored already are not encoded
        again. If the nodes come from another version of a document, those of the version before are
        deleted at the end.

        Args:
            nodes: The nodes, all checked before the first is stored.
            progress: Called with ("adding passages", done, total).
            show_progress: Whether to show a bar.
            durable: Whether a power cut must not lose the nodes; see `M3Index.add`.

        Raises:
            InputError: A node cannot be stored, or another model embedded it, so that queries would
                not match it.
        """
        with shown_progress(progress, show_progress) as report:
            return store_nodes(
                self.index,
                node_list(nodes),
                base=self.base_filters,
                progress=report,
                durable=durable,
            )

    async def aadd_nodes(self, nodes: Sequence[BaseNode], **settings: Any) -> list[str]:
        """Run `add_nodes` in a thread."""
        return await in_thread(partial(self.add_nodes, nodes, **settings))

    def upsert_documents(
        self,
        documents: Sequence[Document],
        *,
        node_parser: NodeParser | None = None,
        progress: Progress | None = None,
        show_progress: bool = False,
        durable: bool = False,
    ) -> Upserted:
        """Split documents and store their passages, in place of those of earlier versions.

        Documents are identified by their ids, so give them ids of your own (`id_=`). Passages that
        are stored already are not encoded again.

        Args:
            documents: Documents of any length.
            node_parser: Splits the documents; an `M3NodeParser` of the index's model by default.
            progress: Called with ("adding passages", done, total).
            show_progress: Whether to show bars.
            durable: Whether a power cut must not lose the passages; see `M3Index.add`.

        Returns:
            The ids of all passages, and which were added, replaced, unchanged and removed.
        """
        with shown_progress(progress, show_progress) as report:
            return upsert(
                self.index,
                node_list(documents, "documents"),
                node_parser,
                show_progress,
                base=self.base_filters,
                progress=report,
                durable=durable,
            )

    async def aupsert_documents(self, documents: Sequence[Document], **settings: Any) -> Upserted:
        """Run `upsert_documents` in a thread."""
        return await in_thread(partial(self.upsert_documents, documents, **settings))

    def add_documents(self, documents: Sequence[Document], **settings: Any) -> list[str]:
        """Run `upsert_documents` and return the ids of all passages."""
        upserted: Upserted = self.upsert_documents(documents, **settings)
        return upserted.ids

    async def aadd_documents(self, documents: Sequence[Document], **settings: Any) -> list[str]:
        """Run `add_documents` in a thread."""
        return await in_thread(partial(self.add_documents, documents, **settings))

    @classmethod
    @abstractmethod
    def _opened(cls, name: str, settings: dict[str, Any]) -> Self:
        """Return a component over an index that is opened for it.

        Args:
            name: The method that was called, for errors.
            settings: The arguments for the constructor.
        """
