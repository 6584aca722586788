"""The LlamaIndex embeddings of m3rag, re-exported from `m3rag.llama_index`."""

from m3rag.llama_index import M3Embedding, M3SparseEmbedding, sparse_encoder

__all__ = ["M3Embedding", "M3SparseEmbedding", "sparse_encoder"]
