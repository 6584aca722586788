"""The nodes that an index has, as the store and the retrievers offer them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import MetadataFilters

from m3rag.closing import Closing
from m3rag.errors import InputError
from m3rag.frameworks import check_names
from m3rag.index.index import M3Index
from m3rag.limits import check_count
from m3rag.llama_index.document_store import M3DocumentStore
from m3rag.llama_index.metadata_filters import Where, all_of, restriction, where_of
from m3rag.llama_index.nodes import changed_metadata, node_of
from m3rag.threads import in_thread


class StoredNodes(Closing, ABC):
    """A mixin that reads, changes and deletes the nodes of an index that match `base_filters`."""

    if TYPE_CHECKING:
        base_filters: MetadataFilters | None

    @property
    @abstractmethod
    def index(self) -> M3Index:
        """The index."""

    @property
    def docstore(self) -> M3DocumentStore:
        """A docstore of LlamaIndex that reads these nodes."""
        return M3DocumentStore(self.index, base_filters=self.base_filters)

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
        found = self.index.passages(self._where(restriction(node_ids, filters)))
        if node_ids is not None:
            by_id = {passage.id: passage for passage in found}
            found = iter([by_id[i] for i in dict.fromkeys(node_ids) if i in by_id])
        return [node_of(passage) for passage in islice(found, offset, last)]

    def count(self, filters: MetadataFilters | None = None) -> int:
        """Return the number of nodes, or of those that match the filters."""
        return self.index.count(self._where(where_of(filters)))

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
        self.index.delete(filter=self._where(where))

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
        changed = partial(changed_metadata, metadata)
        return self.index.update_metadata(changed, filter=self._where(where))

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

    def _where(self, where: Where | None) -> Where | None:
        """Return a filter, narrowed by `base_filters`."""
        base = where_of(self.base_filters)
        return where if base is None else all_of(base, where)
