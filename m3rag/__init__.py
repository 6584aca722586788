"""One BGE-M3 model, three views of a text, one index.

Names are imported on first use, so `import m3rag` loads neither torch nor a framework.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from m3rag.documents import Document, Heading, Passage, read, split
    from m3rag.encoding import Encoding, MultiVectors, SparseVectors
    from m3rag.errors import M3Error
    from m3rag.explanation import Explanation, explain
    from m3rag.index import Hit, M3Index, Query
    from m3rag.model import M3CrossEncoder, M3Model, shared_cross_encoder, shared_model
    from m3rag.scoring import compute_score

__version__ = "0.1.0"

_HOMES = {
    "Document": "m3rag.documents",
    "Encoding": "m3rag.encoding",
    "Explanation": "m3rag.explanation",
    "Heading": "m3rag.documents",
    "Hit": "m3rag.index",
    "M3CrossEncoder": "m3rag.model",
    "M3Error": "m3rag.errors",
    "M3Index": "m3rag.index",
    "M3Model": "m3rag.model",
    "MultiVectors": "m3rag.encoding",
    "Passage": "m3rag.documents",
    "Query": "m3rag.index",
    "SparseVectors": "m3rag.encoding",
    "compute_score": "m3rag.scoring",
    "explain": "m3rag.explanation",
    "read": "m3rag.documents",
    "shared_cross_encoder": "m3rag.model",
    "shared_model": "m3rag.model",
    "split": "m3rag.documents",
}

__all__ = [
    "Document",
    "Encoding",
    "Explanation",
    "Heading",
    "Hit",
    "M3CrossEncoder",
    "M3Error",
    "M3Index",
    "M3Model",
    "MultiVectors",
    "Passage",
    "Query",
    "SparseVectors",
    "compute_score",
    "explain",
    "read",
    "shared_cross_encoder",
    "shared_model",
    "split",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
