"""Old import path of the names in `m3rag.index.sync`, kept for code written for 0.1."""

from m3rag.index.sync import Changes, documents_in, sync

__all__ = ["Changes", "documents_in", "sync"]
