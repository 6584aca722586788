"""Learning how to fuse the channels' scores, and from which score on to answer."""

from m3rag.evaluation.tuning.balance import balance
from m3rag.evaluation.tuning.labelled import Labelled, index_scores, read_labelled
from m3rag.evaluation.tuning.pseudo import pseudo_questions
from m3rag.evaluation.tuning.threshold import Threshold, calibrate
from m3rag.evaluation.tuning.tuning import FEWEST, HeldOut, Tuning, tune

__all__ = [
    "FEWEST",
    "HeldOut",
    "Labelled",
    "Threshold",
    "Tuning",
    "balance",
    "calibrate",
    "index_scores",
    "pseudo_questions",
    "read_labelled",
    "tune",
]
