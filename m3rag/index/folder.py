"""The names of `m3rag.index.sync`, where 0.1 had them."""

from m3rag.index.sync import Changes, documents_in, sync

__all__ = ["Changes", "documents_in", "sync"]
