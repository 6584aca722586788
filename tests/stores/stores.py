"""Every store, and points to add to it. A new store is one more line in FACTORIES."""

from types import SimpleNamespace

import numpy as np

from m3rag.documents import Passage
from m3rag.index import M3Index, Points
from m3rag.index.manifest import Manifest
from m3rag.index.opening import StoredIndex
from m3rag.model import MultiVectors, SparseVectors
from m3rag.scoring import BM25
from m3rag.stores.edge.store import EdgeStore
from m3rag.stores.memory import MemoryLocation, MemoryStore

DIM, COLBERT_DIM = 48, 32  # different, so that swapping them fails

FACTORIES = {
    "memory": lambda folder: MemoryStore(),
    "edge": lambda folder: EdgeStore(folder, dim=DIM, colbert_dim=COLBERT_DIM),
}

TOLERANCE = {"dense": 1e-5, "sparse": 1e-5, "bm25": 1e-5, "colbert": 5e-3}  # 8 bits per dimension


def in_an_index(store):
    """Return an index of a store, without a model that could encode."""
    model = SimpleNamespace(
        name="none", fingerprint="0", dim=DIM, colbert_dim=COLBERT_DIM, vocab_size=1000, presets={}
    )
    model.token_ids = lambda texts: [[] for _ in texts]
    modes = {"colbert": "stored", "context": "passage", "analyzer": "model", "bm25": BM25()}
    return M3Index(StoredIndex(MemoryLocation(), Manifest.of(model, **modes), {}, store), model)


def unit(rng, *shape):
    vectors = rng.normal(size=shape)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def weights(rng, *, vocabulary=60, most=15):
    tokens = rng.choice(vocabulary, rng.integers(most), replace=False)
    return {int(t): float(np.float32(rng.random() + 0.01)) for t in tokens}


def make(rng, passages, *, dtype=np.float32):
    """Return points with random vectors for passages, or for ids."""
    passages = [
        p if isinstance(p, Passage) else Passage(id=p, text=f"text of {p}") for p in passages
    ]
    n = len(passages)
    return Points(
        passages,
        unit(rng, n, DIM),
        SparseVectors.from_dicts([weights(rng) for _ in range(n)]),
        SparseVectors.from_dicts([weights(rng, vocabulary=25) for _ in range(n)]),
        MultiVectors.from_rows(
            [unit(rng, rng.integers(1, 9), COLBERT_DIM).astype(dtype) for _ in range(n)]
        ),
    )


def named(n, prefix="p"):
    return [f"{prefix}{i}" for i in range(n)]
