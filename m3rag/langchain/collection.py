"""The documents of an index, as the store and the retrievers offer them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

from langchain_core.documents import Document

from m3rag.closing import Closing
from m3rag.errors import InputError
from m3rag.frameworks import check_names
from m3rag.frameworks.indexes import HasIndex
from m3rag.index.index import M3Index
from m3rag.index.upsert import Upserted
from m3rag.langchain.base_filter import check_passages
from m3rag.langchain.documents import passages_of, to_document
from m3rag.langchain.filters import Where, where_of
from m3rag.limits import check_count, shown
from m3rag.progress import Progress
from m3rag.threads import in_thread

SOURCE = "source"
"""The metadata key in which LangChain's loaders put the file or the address of a document."""

ADD = ("ids", "batch_size", "progress", "durable")
"""The names of the arguments of adding, besides what is added."""

_UPSERT = ("documents", "ids", "source_id_key", "progress", "durable")
_DELETE = ("ids", "filter", "delete_all")


class DocumentCollection(Closing):
    """A mixin with the life cycle of an index and its documents.

    The classes that use it have an `index` and a `base_filter`, which deleting and reading respect.
    """

    def add_documents(
        self: HasIndex,
        documents: Iterable[Document],
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
        progress: Progress | None = None,
        durable: bool = False,
        **unknown: Any,
    ) -> list[str]:
        """Encode and store documents; return the id of each.

        All documents are checked before the first is stored. A document replaces a stored one with
        the same id; to replace all passages of a document, use `upsert_documents`.

        Args:
            documents: The documents; one without an id gets an id derived from its text and
                metadata.
            ids: Ids that replace those of the documents.
            batch_size: Accepted because LangChain's indexing API passes it, without an effect: the
                model packs texts into forward passes by their tokens.
            progress: Called with ("adding passages", done, total).
            durable: Whether a power cut must not lose the documents; see `M3Index.add`.
            unknown: Not allowed.

        Raises:
            ArgumentError: An argument does not exist.
            InputError: A document cannot be stored, or the number of ids is not that of documents.
        """
        check_names("add_documents", unknown, ("documents", *ADD))
        passages = passages_of(documents, ids)
        check_passages(self.index, _base(self), passages)
        return self.index.add(passages, progress=progress, durable=durable)

    async def aadd_documents(
        self: HasIndex, documents: Iterable[Document], **settings: Any
    ) -> list[str]:
        """Run `add_documents` in a thread."""
        check_names("aadd_documents", settings, ("documents", *ADD))
        return await in_thread(partial(_of(self).add_documents, documents, **settings))

    def upsert_documents(
        self: HasIndex,
        documents: Iterable[Document],
        *,
        ids: Sequence[str | None] | None = None,
        source_id_key: str | None = SOURCE,
        progress: Progress | None = None,
        durable: bool = False,
        **unknown: Any,
    ) -> Upserted:
        """Store new versions of documents: encode what changed, delete what is gone.

        Stored passages of the same documents that are not among the new ones are deleted at the
        end; equal ones are not encoded again.

        Args:
            documents: All passages of the documents. Passages belong together that have the same
                "document_id" in their metadata, as `M3TextSplitter` sets it, or without one the
                same `source_id_key`. A passage with neither is a document of its own.
            ids: Ids that replace those of the documents.
            source_id_key: The metadata key for the document of a passage that has no
                "document_id"; None for no such key.
            progress: Called with ("adding passages", done, total).
            durable: Whether a power cut must not lose the documents; see `M3Index.add`.
            unknown: Not allowed.

        Returns:
            The ids of all passages given, and which were added, replaced, unchanged and removed.
        """
        base = _base(self)
        return upsert(
            self.index, documents, ids, source_id_key, base, progress=progress, durable=durable
        )

    async def aupsert_documents(
        self: HasIndex, documents: Iterable[Document], **settings: Any
    ) -> Upserted:
        """Run `upsert_documents` in a thread."""
        check_names("aupsert_documents", settings, _UPSERT)
        return await in_thread(partial(_of(self).upsert_documents, documents, **settings))

    def update_metadata(
        self: HasIndex,
        metadata: Mapping[str, Any],
        ids: Sequence[str] | None = None,
        *,
        filter: Where = None,
    ) -> int:
        """Change keys of the metadata of documents without encoding them again.

        Args:
            metadata: The keys to set; others stay as they are.
            ids: The documents to change, by id.
            filter: The documents to change; they are all that match.

        Returns:
            The number of documents that were changed.

        Raises:
            InputError: Neither ids nor a filter is given, or both are.
        """
        if (ids is None) == (not filter):
            raise InputError("`update_metadata` needs either ids or a non-empty filter.")
        where = filter if ids is None else {"$id": _id_list(ids)}
        narrow = where_of(self.index, _base(self), where)
        return self.index.update_metadata(dict(metadata), filter=narrow)

    async def aupdate_metadata(
        self: HasIndex, metadata: Mapping[str, Any], *args: Any, **settings: Any
    ) -> int:
        """Run `update_metadata` in a thread."""
        return await in_thread(partial(_of(self).update_metadata, metadata, *args, **settings))

    def delete(
        self: HasIndex,
        ids: list[str] | None = None,
        *,
        filter: Where = None,
        delete_all: bool = False,
        **unknown: Any,
    ) -> bool:
        """Delete documents by ids or by filter; unknown ids are ignored.

        Args:
            ids: The ids; an empty list deletes nothing.
            filter: A dict, or a function of a document.
            delete_all: Whether to delete all documents; not together with ids or a filter.
            unknown: Not allowed.

        Returns:
            True.

        Raises:
            InputError: Not exactly one of ids, a filter and `delete_all` is given. LangChain lets
                stores delete everything then; that would make a missing value fatal.
        """
        check_names("delete", unknown, _DELETE)
        if delete_all:
            if ids is not None or filter is not None:
                raise InputError(
                    "`delete_all` deletes all documents. Leave `ids` and `filter` out."
                )
            return _delete_where(self, None)
        if (ids is None) == (not filter):
            raise InputError(
                "`delete` needs either ids or a non-empty filter. To delete all documents, pass "
                "delete_all=True."
            )
        return _delete_where(self, filter if ids is None else {"$id": _id_list(ids)})

    async def adelete(self: HasIndex, ids: list[str] | None = None, **settings: Any) -> bool:
        """Run `delete` in a thread."""
        check_names("adelete", settings, _DELETE)
        return await in_thread(partial(_of(self).delete, ids, **settings))

    def documents(
        self: HasIndex,
        filter: Where = None,
        *,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Document]:
        """Return stored documents, in no particular order.

        Args:
            filter: Return only documents that match.
            limit: The most documents; all by default.
            offset: The number of documents to skip.
        """
        check_count("offset", offset, least=0)
        last = None if limit is None else offset + check_count("limit", limit, least=0)
        return list(islice(_scan(self, filter), offset, last))

    def count(self: HasIndex, filter: Where = None) -> int:
        """Return the number of documents, or of those that match a filter."""
        return self.index.count(where_of(self.index, _base(self), filter))

    def close(self: HasIndex) -> None:
        """Close the index, also for others that use it; a second call does nothing."""
        self.index.close()


def upsert(
    index: M3Index,
    documents: Iterable[Document],
    ids: Sequence[str | None] | None,
    source_id_key: str | None,
    base: Where,
    *,
    progress: Progress | None = None,
    durable: bool = False,
) -> Upserted:
    """Bring documents up to date within a base filter; see `upsert_documents` of the classes."""
    if source_id_key is not None and (not isinstance(source_id_key, str) or not source_id_key):
        raise InputError(
            '`source_id_key` must be a metadata key such as "source", or None, got '
            f"{shown(source_id_key)}."
        )
    passages = passages_of(documents, ids)
    check_passages(index, base, passages)
    result = index.upsert_documents(passages, progress=progress, durable=durable)
    if source_id_key is None:
        return result
    # Passages of other splitters: they have the source of their document, and no document_id.
    sources = (p.metadata.get(source_id_key) for p in passages if p.document_id is None)
    known = sorted({source for source in sources if isinstance(source, str)})
    new = set(result.ids)
    stored = index.passages(where_of(index, base, {source_id_key: known})) if known else ()
    old = [p.id for p in stored if p.id not in new and p.document_id is None]
    index.delete(old)
    result.removed.extend(old)
    return result


def _scan(held: HasIndex, where: Where) -> Iterator[Document]:
    found = held.index.passages(where_of(held.index, _base(held), where))
    return (to_document(passage) for passage in found)


def _delete_where(held: HasIndex, where: Where) -> bool:
    narrow = where_of(held.index, _base(held), where)
    if narrow is None:  # everything
        held.index.delete([passage.id for passage in held.index.passages()])
    elif narrow.keys() == {"$id"} and isinstance(narrow["$id"], list):
        held.index.delete(narrow["$id"])  # without a search
    else:
        held.index.delete(filter=narrow)
    return True


def _base(held: HasIndex) -> Where:
    """Return the filter that everything must match, if there is one."""
    where: Where = getattr(held, "base_filter", None)
    return where


def _of(held: object) -> Any:
    """Return the object without its type: a subclass may have widened the arguments."""
    return held


def _id_list(ids: object) -> list[str]:
    if not isinstance(ids, Sequence) or isinstance(ids, str):
        raise InputError(f'`ids` must be a list of strings such as ["a", "b"], got {shown(ids)}.')
    return list(ids)
