"""Stores: where an index keeps its points and scores them; see `m3rag.stores.base`."""
