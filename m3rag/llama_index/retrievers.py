"""Retrievers for LlamaIndex over an index; each node has the scores of all channels."""

from __future__ import annotations

from m3rag.index.settings import SETTINGS
from m3rag.llama_index.index_retriever import IndexRetriever, setting


class M3EnsembleRetriever(IndexRetriever):
    """A retriever that fuses dense, sparse and ColBERT scores from one forward pass.

    All channels score each candidate.

        weighted   the sum of weight * score over the channels, divided by the sum of the weights
        rrf        the sum of weight / (60 + rank), ranks from 1

    Example:
        >>> nodes = [TextNode(text="Ferns like shade."), TextNode(text="Cacti like sun.")]
        >>> retriever = M3EnsembleRetriever.from_nodes(nodes, model="tiny", weights="cross-lingual")
        >>> retriever.retrieve("Who likes shade?")[0].text
        'Ferns like shade.'

    Returns each node as an `M3NodeWithScore`. Nodes are identified by their ids alone. An empty
    query finds nothing. Every attribute can be assigned, and is checked at once.

    Args:
        index: The index to search, or what has one: a store, a `VectorStoreIndex` over one, a
            retriever, or the folder of an existing index. `from_nodes` and `from_documents` create
            one.
        path: The folder of the index, instead of `index`; it is created if it does not exist.
        model: The model for `path`; that of an existing index by default.
        similarity_top_k: The most nodes to return for a query.
        filters: Search only nodes that match.
        base_filters: Filters that all nodes match which the retriever finds, returns, changes,
            deletes or adds. A retriever over a store has those of the store, too.
        doc_ids: Search only nodes of these source documents.
        node_ids: Search only nodes with these ids.
        neighbours: The number of nodes before and after a found one to return with it; see
            `M3NeighbourPostprocessor`.
        scores_in_metadata: Whether the nodes have the scores in their metadata too, where they
            survive `model_dump` and other steps, as "relevance_score", "dense_score" and so on; a
            string goes before each of these keys. They change the hash of a node.
        settings: How to search.
        callback_manager: See `BaseRetriever`.
        object_map: See `BaseRetriever`.
        objects: See `BaseRetriever`.
        verbose: See `BaseRetriever`.
        options: Fields of `SearchSettings` that differ from `settings`, and with `path` arguments
            of `M3Index.open`.
    """

    weights = setting("weights")
    fusion = setting("fusion")
    channels = setting("channels")
    rrf_k = setting("rrf_k")


class M3SparseRetriever(IndexRetriever):
    """A retriever that uses the model's term weights alone: `<q, p>` over common tokens.

    Finds only nodes that share a token with the query. An index that it creates in memory stores no
    ColBERT vectors. An empty query finds nothing.

    Example:
        >>> nodes = [TextNode(text="Ferns like shade."), TextNode(text="Cacti like sun.")]
        >>> retriever = M3SparseRetriever.from_nodes(nodes, model="tiny")
        >>> [found.text for found in retriever.retrieve("sun")]
        ['Cacti like sun.']

    The arguments are those of `M3EnsembleRetriever`, without the channels, their weights and their
    fusion.
    """

    _new_colbert = "off"
    _options = tuple(
        name for name in SETTINGS if name not in ("weights", "fusion", "channels", "rrf_k")
    )
    _fixed = {"channels": ["sparse"]}  # noqa: RUF012
