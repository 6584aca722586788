"""The LlamaIndex retrievers of m3rag, re-exported from `m3rag.llama_index`."""

from m3rag.llama_index import M3AutoMergingRetriever, M3EnsembleRetriever, M3SparseRetriever

__all__ = ["M3AutoMergingRetriever", "M3EnsembleRetriever", "M3SparseRetriever"]
