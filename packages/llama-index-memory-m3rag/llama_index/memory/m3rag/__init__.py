"""The LlamaIndex memory of m3rag, re-exported from `m3rag.llama_index`."""

from m3rag.llama_index import M3MemoryBlock

__all__ = ["M3MemoryBlock"]
