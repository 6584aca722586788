"""What the classes of both frameworks share: checks of arguments, models and indexes."""

from m3rag.frameworks.arguments import check_names, names_of, refusing
from m3rag.frameworks.indexes import IndexLike, Opening, index_of, open_index
from m3rag.frameworks.models import ModelLike, check_model, model_of
from m3rag.frameworks.thresholds import least_score
from m3rag.frameworks.values import own_errors

__all__ = [
    "IndexLike",
    "ModelLike",
    "Opening",
    "check_model",
    "check_names",
    "index_of",
    "least_score",
    "model_of",
    "names_of",
    "open_index",
    "own_errors",
    "refusing",
]
