"""Learning from labelled questions: fusion weights, and the minimum score of an answer."""

from m3rag.evaluation.matrices import balance
from m3rag.tuning.labels import Labelled, index_scores, read_labelled
from m3rag.tuning.pseudo import pseudo_questions
from m3rag.tuning.threshold import Threshold, calibrate, preset_of
from m3rag.tuning.tuner import FEWEST, HeldOut, Tuning, tune

__all__ = [
    "FEWEST",
    "HeldOut",
    "Labelled",
    "Threshold",
    "Tuning",
    "balance",
    "calibrate",
    "index_scores",
    "preset_of",
    "pseudo_questions",
    "read_labelled",
    "tune",
]
