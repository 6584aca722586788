"""What the classes of both frameworks share: checks of arguments, models and indexes."""

from m3rag.frameworks.arguments import check_names, names_of, refusing
from m3rag.frameworks.files import ReadsFiles
from m3rag.frameworks.indexes import (
    OPENING,
    IndexLike,
    Opening,
    held_filters,
    index_of,
    open_index,
    opening_of,
)
from m3rag.frameworks.models import ModelLike, check_model, model_of
from m3rag.frameworks.numbered import TABLE_HEADER, Found, full_text, numbered
from m3rag.frameworks.scores import Scores, channel_scores, check_scores, score_entries
from m3rag.frameworks.thresholds import least_score
from m3rag.frameworks.values import assign, own_errors

__all__ = [
    "OPENING",
    "TABLE_HEADER",
    "Found",
    "IndexLike",
    "ModelLike",
    "Opening",
    "ReadsFiles",
    "Scores",
    "assign",
    "channel_scores",
    "check_model",
    "check_names",
    "check_scores",
    "full_text",
    "held_filters",
    "index_of",
    "least_score",
    "model_of",
    "names_of",
    "numbered",
    "open_index",
    "opening_of",
    "own_errors",
    "refusing",
    "score_entries",
]
