"""Check embeddings that nodes bring along against the model of an index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from llama_index.core.schema import BaseNode, MetadataMode
from numpy.typing import NDArray

from m3rag.documents import Passage, check_passage
from m3rag.errors import InputError
from m3rag.index import M3Index
from m3rag.limits import shown
from m3rag.llama_index.nodes import passage_of

SAME = 0.98  # cosine; the same model in 16 and 32 bits differs by less
_BATCH = 64  # nodes; as many as an index encodes at a time, so that the memo holds their vectors
_SAMPLE = 16  # nodes that are checked before the first is stored

_FIX = (
    "Use embed_model=store.embed_model, which leaves nodes to the store, or M3Embedding with the "
    "store's model, or add the nodes without embeddings (node.embedding = None)."
)


def checked_passages(
    index: M3Index, nodes: Sequence[BaseNode], passages: Sequence[Passage]
) -> Sequence[Passage] | Iterator[Passage]:
    """Return the passages of nodes, each checked against the embedding that it brings along.

    The index encodes the passages anyway, so the check costs no forward pass unless an embedding
    does not fit. All dimensions and a sample of the vectors are checked before the first passage.
    A vector of the text without its metadata is accepted, and the passage is then this text.

    Raises:
        InputError: An embedding does not come from the model of the index.
    """
    given = [i for i, node in enumerate(nodes) if node.embedding]
    if not given:
        return passages
    for i in given:
        _check_shape(index, nodes[i])
        check_passage(passages[i], index.limits)
    if len(given) > _BATCH:
        sample = given[:: len(given) // _SAMPLE]
        _fitting(index, [nodes[i] for i in sample], [passages[i] for i in sample])
    batches = range(0, len(nodes), _BATCH)
    slices = (slice(start, start + _BATCH) for start in batches)
    return (p for part in slices for p in _fitting(index, nodes[part], passages[part]))


def _check_shape(index: M3Index, node: BaseNode) -> None:
    vector = np.asarray(node.embedding, np.float32)
    if vector.shape != (index.model.dim,):
        raise InputError(
            f"Node {shown(node.node_id)} has an embedding of {len(vector):,} dimensions, but the "
            f"model of the store, {index.model.name!r}, has {index.model.dim:,}. {_FIX}"
        )
    if not np.isfinite(vector).all():
        raise InputError(
            f"The embedding of node {shown(node.node_id)} has a number that is not finite. {_FIX}"
        )


def _fitting(
    index: M3Index, nodes: Sequence[BaseNode], passages: Sequence[Passage]
) -> Sequence[Passage]:
    """Return the passages that fit the embeddings of their nodes."""
    passages = list(passages)
    given = [i for i, node in enumerate(nodes) if node.embedding]
    if not given:
        return passages
    texts = [nodes[i].get_content(MetadataMode.EMBED) for i in given]
    cosines = _cosines(index, nodes, texts, given)
    for i, cosine in zip(given, cosines, strict=True):
        if cosine < SAME:
            passages[i] = _without_metadata(index, nodes[i], float(cosine))
    return passages


def _without_metadata(index: M3Index, node: BaseNode, cosine: float) -> Passage:
    """Return the passage of the text alone, if the embedding is that of the text alone."""
    text = node.get_content(MetadataMode.NONE)
    bare = float(_cosines(index, [node], [text], [0])[0])
    if bare >= SAME:
        return passage_of(node, text=text)
    raise InputError(
        f"The embedding of node {shown(node.node_id)} is not that of its text by the model of the "
        f"store, {index.model.name!r}: their cosine is {cosine:.2f}, or {bare:.2f} for the text "
        f"without metadata, instead of at least {SAME}. It comes from another model, another text "
        f"or another `max_length`. {_FIX}"
    )


def _cosines(
    index: M3Index, nodes: Sequence[BaseNode], texts: list[str], rows: list[int]
) -> NDArray[np.float32]:
    """Return the cosine of each embedding and the model's own vector of its text, `(n,)`."""
    together = index.manifest.context == "document"
    colbert = index.manifest.colbert == "stored" and not together  # what the index asks for next
    own = index.model.encode(texts, colbert=colbert).dense
    given = np.array([nodes[i].embedding for i in rows], np.float32)
    lengths = np.linalg.norm(given, axis=1)
    cosines: NDArray[np.float32] = np.einsum("nd,nd->n", given, own) / np.maximum(lengths, 1e-12)
    return cosines
