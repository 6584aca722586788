"""Stores, which keep and score the points of an index; see `m3rag.stores.base`."""
