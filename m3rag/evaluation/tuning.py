"""The names of `m3rag.tuning` under their module name in 0.1."""

from m3rag.extras import lazy

__getattr__ = lazy(
    __name__,
    {
        "FEWEST": "m3rag.tuning",
        "HeldOut": "m3rag.tuning",
        "Labelled": "m3rag.tuning",
        "Threshold": "m3rag.tuning",
        "Tuning": "m3rag.tuning",
        "balance": "m3rag.tuning",
        "calibrate": "m3rag.tuning",
        "index_scores": "m3rag.tuning",
        "pseudo_questions": "m3rag.tuning",
        "read_labelled": "m3rag.tuning",
        "tune": "m3rag.tuning",
    },
)
