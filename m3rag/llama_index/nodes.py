"""LlamaIndex's nodes in an index: there, back, and found with all their scores."""

from __future__ import annotations

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
from m3rag.index import Hit
from m3rag.scoring import SCORED

REST = "_node"  # the key of a passage's metadata for what only LlamaIndex knows of a node
HEADINGS = "headings"  # the key of a node's metadata for the titles above it
_KINDS = {kind.class_name(): kind for kind in (TextNode, IndexNode, ImageNode, Document, Node)}


class M3NodeWithScore(NodeWithScore):
    """A node that was found, with the score of each channel beside the fused one.

    Example:
        >>> nodes = [TextNode(text="Ferns like shade.")]
        >>> found = M3EnsembleRetriever.from_nodes(nodes, model="tiny").retrieve("Who likes shade?")
        >>> sorted(found[0].scores)
        ['colbert', 'dense', 'sparse']

    Attributes:
        scores: by channel ("dense", "sparse", "colbert", "bm25"), those that were asked for. They
            stand here and not in the node's metadata, which would change its hash and its text.
    """

    scores: dict[str, float] = Field(default_factory=dict)

    @classmethod
    def class_name(cls) -> str:
        """The name it is saved under."""
        return "M3NodeWithScore"


def scored(hit: Hit) -> M3NodeWithScore:
    """A hit as LlamaIndex wants it."""
    scores = {channel: getattr(hit, channel) for channel in SCORED}
    return M3NodeWithScore(
        node=node_of(hit.passage),
        score=hit.score,
        scores={channel: score for channel, score in scores.items() if score is not None},
    )


def passage_of(node: BaseNode) -> Passage:
    """A node as it is kept; `node_of` gives an equal one back, without its embedding.

    What is encoded is what LlamaIndex embeds: the text, and before it the metadata that
    `excluded_embed_metadata_keys` does not name.

    Raises:
        InputError: its metadata uses the key that m3rag needs.
    """
    if REST in node.metadata:
        raise InputError(f"Node {node.node_id!r}: rename the metadata key {REST!r}, m3rag uses it.")
    text = node.get_content(MetadataMode.EMBED)
    rest = node.model_dump(
        mode="json", exclude={"id_", "metadata", "embedding"}, exclude_defaults=True
    )
    start, end = None, None
    if isinstance(node, TextNode) and node.text == text:
        rest.pop("text", None)
        start, end = rest.pop("start_char_idx", None), rest.pop("end_char_idx", None)
    titles = node.metadata.get(HEADINGS)
    metadata: dict[str, Any] = {**node.metadata, REST: rest}
    return Passage(
        id=node.node_id,
        text=text,
        metadata=metadata,
        document_id=node.ref_doc_id,
        start=start,
        end=end,
        headings=tuple(map(str, titles)) if isinstance(titles, list) else (),
    )


def node_of(passage: Passage) -> BaseNode:
    """The node that `passage_of` kept, or one made of a passage that came another way."""
    metadata: dict[str, Any] = dict(passage.metadata)
    rest = metadata.pop(REST, None) or _described(passage, metadata)
    kind = _KINDS.get(rest.get("class_name", ""), TextNode)
    fields: dict[str, Any] = {"id_": passage.id, "metadata": metadata}
    if issubclass(kind, TextNode):
        fields["text"] = passage.text
        fields["start_char_idx"], fields["end_char_idx"] = passage.start, passage.end
    return kind.from_dict({**fields, **rest})


def _described(passage: Passage, metadata: dict[str, Any]) -> dict[str, Any]:
    """What a passage says of itself in LlamaIndex's words."""
    hidden = sorted(metadata)
    if passage.headings:
        metadata[HEADINGS] = list(passage.headings)
        hidden.append(HEADINGS)
    rest: dict[str, Any] = {"excluded_embed_metadata_keys": hidden}
    if passage.document_id is not None:
        source = RelatedNodeInfo(node_id=passage.document_id)
        rest["relationships"] = {NodeRelationship.SOURCE: source}
    return rest
