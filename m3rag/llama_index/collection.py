"""The nodes of an index, as the store and the retrievers offer them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, Self

from llama_index.core.node_parser import NodeParser
from llama_index.core.schema import BaseNode, Document
from llama_index.core.vector_stores.types import MetadataFilters

from m3rag.closing import Closing
from m3rag.errors import InputError
from m3rag.frameworks import check_names
from m3rag.index.index import M3Index
from m3rag.index.upsert import Upserted
from m3rag.limits import check_count
from m3rag.llama_index.metadata_filters import restriction, where_of
from m3rag.llama_index.nodes import changed_metadata, node_list, node_of
from m3rag.llama_index.progress_bar import shown_progress
from m3rag.llama_index.versions import passages_of, store_nodes, upsert
from m3rag.progress import Progress
from m3rag.threads import in_thread


class NodeCollection(Closing, ABC):
    """A mixin with the life cycle of an index and its nodes.

    The classes that use it have an `index`, and `_opened` to open one.
    """

    @property
    @abstractmethod
    def index(self) -> M3Index:
        """The index."""

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
        with opened._closed_on_errors(), shown_progress(progress, show_progress) as report:
            index = opened.index
            index.upsert_documents(passages_of(index, nodes), progress=report)
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
        with opened._closed_on_errors(), shown_progress(progress, show_progress) as report:
            upsert(opened.index, documents, node_parser, show_progress, progress=report)
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
            return store_nodes(self.index, node_list(nodes), progress=report, durable=durable)

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
            found = node_list(documents, "documents")
            return upsert(
                self.index, found, node_parser, show_progress, progress=report, durable=durable
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

    def get_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        *,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[BaseNode]:
        """Return the nodes that have one of the ids, in their order, and match the filters.

        Args:
            node_ids: The ids; all nodes by default, in no particular order.
            filters: Return only nodes that match.
            limit: The most nodes; all by default.
            offset: The number of nodes to skip.
        """
        check_count("offset", offset, least=0)
        last = None if limit is None else offset + check_count("limit", limit, least=0)
        found = self.index.passages(restriction(node_ids, filters))
        if node_ids is not None:
            by_id = {passage.id: passage for passage in found}
            found = iter([by_id[i] for i in dict.fromkeys(node_ids) if i in by_id])
        return [node_of(passage) for passage in islice(found, offset, last)]

    def count(self, filters: MetadataFilters | None = None) -> int:
        """Return the number of nodes, or of those that match the filters."""
        return self.index.count(where_of(filters))

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **unknown: Any,
    ) -> None:
        """Delete the nodes that have one of the ids and match the filters.

        Raises:
            InputError: Neither ids nor filters are given; use `clear` to delete all nodes.
        """
        check_names("delete_nodes", unknown, ("node_ids", "filters"))
        where = restriction(node_ids, filters)
        if where is None:
            raise InputError("`delete_nodes` needs ids or filters. clear() deletes all nodes.")
        self.index.delete(filter=where)

    def update_metadata(
        self,
        metadata: Mapping[str, Any],
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
    ) -> int:
        """Add values to the metadata of nodes, without encoding them; return the number of nodes.

        Embedding models do not see new keys.

        Args:
            metadata: The values; they replace those of the same keys.
            node_ids: Change nodes with these ids.
            filters: Change only nodes that match.

        Raises:
            InputError: Neither ids nor filters are given, or the text of a node that was encoded
                has one of the keys. Such a node must be added again.
        """
        where = restriction(node_ids, filters)
        if where is None:
            raise InputError("`update_metadata` needs ids or filters.")
        return self.index.update_metadata(partial(changed_metadata, metadata), filter=where)

    async def aget_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **settings: Any,
    ) -> list[BaseNode]:
        """Run `get_nodes` in a thread."""
        return await in_thread(partial(self.get_nodes, node_ids, filters, **settings))

    async def adelete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **unknown: Any,
    ) -> None:
        """Run `delete_nodes` in a thread."""
        await in_thread(partial(self.delete_nodes, node_ids, filters, **unknown))

    def close(self) -> None:
        """Close the index, also for others that use it; a second call does nothing."""
        self.index.close()

    @classmethod
    @abstractmethod
    def _opened(cls, name: str, settings: dict[str, Any]) -> Self:
        """Return a component over an index that is opened for it.

        Args:
            name: The method that was called, for errors.
            settings: The arguments for the constructor.
        """

    @contextmanager
    def _closed_on_errors(self) -> Iterator[None]:
        """Close the index if what is done with it fails."""
        try:
            yield
        except BaseException:
            self.close()
            raise
