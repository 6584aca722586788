"""The LlamaIndex vector store of m3rag, re-exported from `m3rag.llama_index`."""

from m3rag.llama_index import M3VectorStore

__all__ = ["M3VectorStore"]
