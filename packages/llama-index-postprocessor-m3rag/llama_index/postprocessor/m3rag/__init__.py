"""The LlamaIndex postprocessors of m3rag, re-exported from `m3rag.llama_index`."""

from m3rag.llama_index import M3NeighbourPostprocessor, M3Reranker

__all__ = ["M3NeighbourPostprocessor", "M3Reranker"]
