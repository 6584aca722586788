"""LlamaIndex components for an M3 model and index.

`m3rag.llama_index.milvus` provides the sparse embedding function for LlamaIndex's Milvus store.
"""

from m3rag.extras import require

require("llama_index.core", "llama-index")

from m3rag.llama_index.answers import checked_answer
from m3rag.llama_index.auto_merging import M3AutoMergingRetriever
from m3rag.llama_index.document_store import M3DocumentStore
from m3rag.llama_index.embeddings import M3Embedding, M3SparseEmbedding, sparse_encoder
from m3rag.llama_index.memory_block import M3MemoryBlock
from m3rag.llama_index.node_parser import M3NodeParser
from m3rag.llama_index.nodes import M3NodeWithScore, scores_of
from m3rag.llama_index.reader import M3Reader
from m3rag.llama_index.rerank import M3Reranker
from m3rag.llama_index.retrievers import M3EnsembleRetriever, M3SparseRetriever
from m3rag.llama_index.sections import M3NeighbourPostprocessor
from m3rag.llama_index.sentence_splitter import split_sentences
from m3rag.llama_index.tool import retrieval_tool
from m3rag.llama_index.vectorstore import M3VectorStore

__all__ = [
    "M3AutoMergingRetriever",
    "M3DocumentStore",
    "M3Embedding",
    "M3EnsembleRetriever",
    "M3MemoryBlock",
    "M3NeighbourPostprocessor",
    "M3NodeParser",
    "M3NodeWithScore",
    "M3Reader",
    "M3Reranker",
    "M3SparseEmbedding",
    "M3SparseRetriever",
    "M3VectorStore",
    "checked_answer",
    "retrieval_tool",
    "scores_of",
    "sparse_encoder",
    "split_sentences",
]
