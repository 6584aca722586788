"""Replace found nodes by the section that they make up, without a docstore."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilters

from m3rag.documents import Passage
from m3rag.errors import InputError
from m3rag.frameworks import IndexLike, index_of, refusing
from m3rag.index.expand import expand
from m3rag.index.hit import Hit
from m3rag.index.index import M3Index
from m3rag.llama_index.base_filters import base_of
from m3rag.llama_index.metadata_filters import all_of, where_of
from m3rag.llama_index.nodes import HEADINGS, M3NodeWithScore, node_of, passage_of, scores_of
from m3rag.llama_index.sections import bare
from m3rag.threads import in_thread

Section = tuple[object, ...]


class M3AutoMergingRetriever(BaseRetriever):
    r"""A retriever that returns a section where more than `ratio` of its nodes were found.

    A section is the parent of the nodes, as `HierarchicalNodeParser` sets it, or else all nodes of
    a document under the same headings. Its text is joined from the stored nodes, so neither a
    docstore nor the parents are needed: store the leaves. The score of a section, and that of each
    channel, is the mean of those of its found nodes, as LlamaIndex's `AutoMergingRetriever` has it.

    Example:
        >>> text = "# Ferns\n\nFerns like shade and moist soil. Ferns like rain and fog."
        >>> parser = M3NodeParser(model="tiny", max_tokens=16, overlap=0)
        >>> documents = [Document(text=text, id_="ferns.md")]
        >>> retriever = M3EnsembleRetriever.from_documents(
        ...     documents, node_parser=parser, model="tiny", similarity_top_k=2
        ... )
        >>> len(M3AutoMergingRetriever(retriever).retrieve("What do ferns like?"))
        1

    Args:
        retriever: Finds the nodes.
        index: The index with all nodes; that of the retriever by default.
        ratio: The share of a section's nodes, from 0 to 1, that must be exceeded.
        callback_manager: See `BaseRetriever`.
        verbose: See `BaseRetriever`.
    """

    @refusing
    def __init__(
        self,
        retriever: BaseRetriever,
        *,
        index: IndexLike | None = None,
        ratio: float = 0.5,
        callback_manager: CallbackManager | None = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(callback_manager=callback_manager, verbose=verbose)
        if not isinstance(ratio, int | float) or not 0 <= ratio <= 1:
            raise InputError(f"`ratio` must be from 0 to 1, got {ratio!r}.")
        self.retriever = retriever
        given = retriever if index is None else index
        self.index = index_of(given)
        self.base_filters = base_of(given, None)
        self.ratio = ratio

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._merged(self.retriever.retrieve(query_bundle))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = await self.retriever.aretrieve(query_bundle)
        return await in_thread(self._merged, found)

    def _merged(self, found: Sequence[NodeWithScore]) -> list[NodeWithScore]:
        groups: dict[Section, list[NodeWithScore]] = {}
        for one in found:
            groups.setdefault(_section(one.node), []).append(one)
        stored = _sections(self.index, self.base_filters, groups)
        merged: list[NodeWithScore] = []
        for section, nodes in groups.items():
            every = stored.get(section, [])
            if len(nodes) > 1 and len(nodes) > self.ratio * len(every):
                merged.append(_joined(section, nodes, every))
            else:
                merged += nodes
        return sorted(merged, key=lambda one: -(one.score or 0.0))


def _section(node: BaseNode) -> Section:
    """Return what the nodes of a section have in common; the id alone if it is in none."""
    if node.parent_node is not None:
        return ("parent", node.ref_doc_id, node.parent_node.node_id)
    headings = node.metadata.get(HEADINGS)
    if node.ref_doc_id is None or not isinstance(headings, list):
        return ("node", None, node.node_id)
    return ("headings", node.ref_doc_id, *headings)


def _sections(
    index: M3Index,
    base: MetadataFilters | None,
    groups: Mapping[Section, Sequence[NodeWithScore]],
) -> dict[Section, list[Passage]]:
    """Return all stored passages of the sections of which several nodes were found."""
    names = {str(section[1]) for section, nodes in groups.items() if len(nodes) > 1 and section[1]}
    stored: dict[Section, list[Passage]] = {}
    where = all_of({"$document_id": sorted(names)}, where_of(base))
    for passage in index.passages(where) if names else ():
        section = _section(node_of(passage))
        if section in groups:
            stored.setdefault(section, []).append(bare(passage))
    return stored


def _joined(
    section: Section, nodes: Sequence[NodeWithScore], every: Sequence[Passage]
) -> M3NodeWithScore:
    """Return a section around its best node, with the mean of the scores of those found."""
    best = max(nodes, key=lambda one: one.score or 0.0)
    hit = Hit(0.0, bare(passage_of(best.node)))
    (whole,) = expand([hit], len(every), lambda name: every)
    node: Any = node_of(whole.passage)
    if section[0] == "parent":
        node.id_ = section[2]
    channels = [c for c in scores_of(best) if all(c in scores_of(one) for one in nodes)]
    return M3NodeWithScore(
        node=node,
        score=fmean(one.score or 0.0 for one in nodes),
        scores={
            c: fmean(scores_of(one)[c] for one in nodes) for c in scores_of(best) if c in channels
        },
    )
