"""Store nodes, and delete those of earlier versions of their documents.

The nodes of a document carry the hash of the document that they were split from. It tells an old
node that the new version no longer has from a node of the same version that was stored before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from llama_index.core.node_parser import NodeParser
from llama_index.core.schema import BaseNode, Document, NodeRelationship
from llama_index.core.vector_stores.types import MetadataFilters

from m3rag.documents import Passage, as_passage
from m3rag.index.index import M3Index
from m3rag.index.upsert import Upserted
from m3rag.llama_index.base_filters import check_within
from m3rag.llama_index.given_vectors import checked_passages
from m3rag.llama_index.node_parser import M3NodeParser
from m3rag.llama_index.nodes import REST, passage_of
from m3rag.progress import Progress

_PAGE = 256  # nodes or documents that are looked up at a time
_SOURCE = str(NodeRelationship.SOURCE.value)
_LEVELS = frozenset(str(r.value) for r in (NodeRelationship.PARENT, NodeRelationship.CHILD))


def store_nodes(
    index: M3Index,
    nodes: Sequence[BaseNode],
    *,
    base: MetadataFilters | None = None,
    progress: Progress | None = None,
    durable: bool = False,
) -> list[str]:
    """Store nodes and return their ids; those that are stored already are not encoded again.

    Nodes of an earlier version of the same document are deleted, after all new ones are stored.

    Raises:
        InputError: A node cannot be stored, its embedding comes from another model, or it does not
            match the base filters.
    """
    passages = [passage_of(node) for node in nodes]
    check_within(index, base, passages)
    if any(node.embedding for node in nodes):
        changed = _changed(index, passages)  # an embedding is checked only if it is needed
    else:
        changed = range(len(nodes))
    new = checked_passages(index, [nodes[i] for i in changed], [passages[i] for i in changed])
    result = index.upsert_documents(new, remove=False, progress=progress, durable=durable)
    if result.added or result.replaced:
        index.delete(list(_outdated(index, passages)))
    return [node.node_id for node in nodes]


def upsert(
    index: M3Index,
    documents: Sequence[Document],
    node_parser: NodeParser | None = None,
    show_progress: bool = False,
    *,
    base: MetadataFilters | None = None,
    progress: Progress | None = None,
    durable: bool = False,
) -> Upserted:
    """Bring documents up to date; see `NodeCollection.upsert_documents`."""
    parser = node_parser or M3NodeParser(model=index.model)
    nodes = parser.get_nodes_from_documents(documents, show_progress)
    names = [document.node_id for document in documents]
    return upsert_nodes(index, nodes, base, documents=names, progress=progress, durable=durable)


def upsert_nodes(
    index: M3Index,
    nodes: Sequence[BaseNode],
    base: MetadataFilters | None = None,
    *,
    documents: Sequence[str] = (),
    progress: Progress | None = None,
    durable: bool = False,
) -> Upserted:
    """Store all nodes of documents, in place of those that the documents had before.

    Raises:
        InputError: As for `store_nodes`.
    """
    passages = [passage_of(node) for node in nodes]
    check_within(index, base, passages, documents)
    new = checked_passages(index, nodes, passages)
    return index.upsert_documents(new, documents=documents, progress=progress, durable=durable)


def _changed(index: M3Index, passages: Sequence[Passage]) -> Sequence[int]:
    """Return the positions of the passages that are not stored as they are."""
    every = range(len(passages))
    if not len(index):
        return every
    changed: list[int] = []
    for start in every[::_PAGE]:
        page = passages[start : start + _PAGE]
        stored = index.get([passage.id for passage in page])
        changed += [i for i, old in enumerate(stored, start) if old != as_passage(passages[i])]
    if changed and index.manifest.context == "document":
        return every  # the vectors of a passage depend on the others
    return changed


def _outdated(index: M3Index, passages: Sequence[Passage]) -> Iterator[str]:
    """Yield the ids of stored nodes of earlier versions of the documents of new passages.

    A node is outdated if it was split from a document with another hash, or if a new node has
    another id but the same text at the same place, as those of splitters with random ids do.
    """
    ids = {passage.id for passage in passages}
    places = {_place(passage) for passage in passages} - {None}
    versions: dict[str, set[str]] = {}
    for passage in passages:
        if passage.document_id is not None and (version := _version(passage)) is not None:
            versions.setdefault(passage.document_id, set()).add(version)
    names = list(versions)
    for start in range(0, len(names), _PAGE):
        for old in index.passages({"$document_id": names[start : start + _PAGE]}):
            version = _version(old)
            if old.id in ids or version is None or old.document_id is None:
                continue
            if version not in versions[old.document_id] or _place(old) in places:
                yield old.id


def _version(passage: Passage) -> str | None:
    """Return the hash of the document that the node of a passage was split from."""
    version: str | None = _relations(passage).get(_SOURCE, {}).get("hash")
    return version


def _place(passage: Passage) -> Any:
    """Return where the text of a passage is: in which document, at which character and level."""
    start = passage.start
    if start is None:
        start = (passage.metadata.get(REST) or {}).get("start_char_idx")
    if start is None:
        return None
    return passage.document_id, passage.text, start, _LEVELS.intersection(_relations(passage))


def _relations(passage: Passage) -> dict[str, Any]:
    found: dict[str, Any] = (passage.metadata.get(REST) or {}).get("relationships") or {}
    return found
