"""Convert LlamaIndex's nodes to passages and back, and hits to nodes with all scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llama_index.core.bridge.pydantic import Field
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageNode,
    IndexNode,
    MetadataMode,
    Node,
    NodeRelationship,
    NodeWithScore,
    RelatedNodeInfo,
    TextNode,
)

from m3rag.documents import Passage
from m3rag.errors import InputError
from m3rag.frameworks import TABLE_HEADER, Scores, channel_scores, full_text, score_entries
from m3rag.index.hit import Hit
from m3rag.limits import shown

REST = "_node"  # the metadata key for the fields of a node that a passage does not have
HEADINGS = "headings"  # the metadata key of a node for the titles above it
_KINDS = {kind.class_name(): kind for kind in (TextNode, IndexNode, ImageNode, Document, Node)}


class M3NodeWithScore(NodeWithScore):
    """A node returned by a search, with the fused score and the score of each channel.

    Example:
        >>> nodes = [TextNode(text="Ferns like shade.")]
        >>> found = M3EnsembleRetriever.from_nodes(nodes, model="tiny").retrieve("Who likes shade?")
        >>> sorted(found[0].scores)
        ['colbert', 'dense', 'sparse']

    Attributes:
        scores: The scores of the searched channels ("dense", "sparse", "colbert", "bm25"). They are
            not in the node's metadata, because that would change its hash and its text.
    """

    scores: dict[str, float] = Field(default_factory=dict)

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex saves the component."""
        return "M3NodeWithScore"


def scored(hit: Hit, in_metadata: Scores = False) -> M3NodeWithScore:
    """Return a hit as a node with scores; see `with_scores`."""
    return with_scores(node_of(hit.passage), hit.score, channel_scores(hit), in_metadata)


def with_scores(
    node: BaseNode, score: float, scores: dict[str, float], in_metadata: Scores = False
) -> M3NodeWithScore:
    """Return a node with scores.

    Args:
        node: The node; it is not changed.
        score: The fused score.
        scores: The score of each channel.
        in_metadata: Whether the node of the result has the scores in its metadata too, as
            "relevance_score", "dense_score" and so on; a string goes before each of these keys.
            Neither the language model nor an embedding model sees them.
    """
    if in_metadata is not False:
        new = score_entries(score, scores, in_metadata)
        node = node.model_copy(
            update={
                "metadata": {**node.metadata, **new},
                "excluded_embed_metadata_keys": _joined(node.excluded_embed_metadata_keys, new),
                "excluded_llm_metadata_keys": _joined(node.excluded_llm_metadata_keys, new),
            }
        )
    return M3NodeWithScore(node=node, score=score, scores=scores)


def scores_of(found: NodeWithScore) -> dict[str, float]:
    """Return the score of each channel of a search result; empty if it has none."""
    scores: dict[str, float] = getattr(found, "scores", {})
    return scores


def _joined(keys: list[str], new: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*keys, *new]))


def passage_of(node: BaseNode, *, text: str | None = None) -> Passage:
    """Return a node as a passage, from which `node_of` restores it without its embedding.

    Args:
        node: The node.
        text: The text of the passage; by default the one that LlamaIndex embeds, which is the
            node's metadata, except for `excluded_embed_metadata_keys`, and then the node's text.
            "table_header" becomes a field of its own.

    Raises:
        InputError: The node's metadata has the key that m3rag uses itself.
    """
    if REST in node.metadata:
        raise InputError(
            f"Node {node.node_id!r} has the metadata key {REST!r}, which m3rag uses itself. Rename "
            "the key."
        )
    text = _embedded(node) if text is None else text
    rest = node.model_dump(
        mode="json", exclude={"id_", "metadata", "embedding"}, exclude_defaults=True
    )
    start, end = None, None
    if isinstance(node, TextNode) and node.text == text:
        rest.pop("text", None)
        start, end = rest.pop("start_char_idx", None), rest.pop("end_char_idx", None)
    titles, header = node.metadata.get(HEADINGS), node.metadata.get(TABLE_HEADER)
    metadata: dict[str, Any] = {**node.metadata, REST: rest}
    return Passage(
        id=node.node_id,
        text=text,
        metadata=metadata,
        document_id=node.ref_doc_id,
        start=start,
        end=end,
        headings=tuple(map(str, titles)) if isinstance(titles, list) else (),
        table_header=header if isinstance(header, str) else "",
    )


def encoded_text(node: BaseNode) -> str:
    """Return the text of a node that m3rag encodes: `full_text` of its passage."""
    return full_text(_embedded(node), node.metadata)


def _embedded(node: BaseNode) -> str:
    """Return the text that LlamaIndex embeds, but for the header of its table."""
    if TABLE_HEADER in node.metadata:
        hidden = [*node.excluded_embed_metadata_keys, TABLE_HEADER]
        node = node.model_copy(update={"excluded_embed_metadata_keys": hidden})
    return node.get_content(MetadataMode.EMBED)


def node_of(passage: Passage) -> BaseNode:
    """Return the node of a passage, which may not come from `passage_of`."""
    metadata: dict[str, Any] = dict(passage.metadata)
    rest = metadata.pop(REST, None) or _new_fields(passage, metadata)
    if passage.table_header:
        metadata[TABLE_HEADER] = passage.table_header
    elif isinstance(header := metadata.get(TABLE_HEADER), str) and header:
        del metadata[TABLE_HEADER]  # the passage was widened and now starts above the table
    kind = _KINDS.get(rest.get("class_name", ""), TextNode)
    fields: dict[str, Any] = {"id_": passage.id, "metadata": metadata}
    if issubclass(kind, TextNode):
        fields["text"] = passage.text
        fields["start_char_idx"], fields["end_char_idx"] = passage.start, passage.end
    return kind.from_dict({**fields, **rest})


def _new_fields(passage: Passage, metadata: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a node for a passage that was not a node; adds headings to metadata."""
    hidden = sorted(metadata)
    if passage.headings:
        metadata[HEADINGS] = list(passage.headings)
        hidden.append(HEADINGS)
    rest: dict[str, Any] = {"excluded_embed_metadata_keys": hidden}
    if passage.document_id is not None:
        source = RelatedNodeInfo(node_id=passage.document_id)
        rest["relationships"] = {NodeRelationship.SOURCE: source}
    return rest


def node_list(nodes: Sequence[Any], name: str = "nodes") -> list[Any]:
    """Return nodes or documents as a list.

    Raises:
        InputError: It is a single node or text, or an item is no node.
    """
    if isinstance(nodes, str | BaseNode) or not hasattr(nodes, "__iter__"):
        raise InputError(f"`{name}` must be a list of {name}, got {shown(nodes)}.")
    found = list(nodes)
    for at, node in enumerate(found):
        if not isinstance(node, BaseNode):
            kind = "Document(text=…)" if name == "documents" else "TextNode(text=…)"
            raise InputError(
                f"`{name}` must be a list of LlamaIndex's nodes, such as {kind}, got {shown(node)} "
                f"at position {at:,}."
            )
    return found


def changed_metadata(new: Mapping[str, Any], passage: Passage) -> dict[str, Any]:
    """Return the metadata of a passage with new values, hidden from embedding models.

    Raises:
        InputError: The encoded text of the passage has one of the keys.
    """
    rest = {**(passage.metadata.get(REST) or {})}
    if REST in passage.metadata:
        hidden = rest.get("excluded_embed_metadata_keys", [])
        encoded = [key for key in new if key in passage.metadata and key not in hidden]
        if encoded:
            raise InputError(
                f"Node {shown(passage.id)} was encoded with its metadata {shown(encoded[0])}, so "
                "its vectors would not fit. Add the node again with the new value."
            )
        rest["excluded_embed_metadata_keys"] = _joined(hidden, new)
        return {**passage.metadata, **new, REST: rest}
    return {**passage.metadata, **new}
