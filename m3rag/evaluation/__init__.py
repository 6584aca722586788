"""Retrieval quality: sets with known answers, exact scores, metrics, statistics, reports."""

from m3rag.evaluation.dataset import CorpusDocument, Query, RetrievalSet
from m3rag.evaluation.evaluator import evaluate, measure, named_systems
from m3rag.evaluation.matrices import Scores, SliceScores, aggregate, balance
from m3rag.evaluation.metrics import METRICS
from m3rag.evaluation.report import Difference, Report
from m3rag.evaluation.runs import read_run, score_run, write_runs
from m3rag.evaluation.scorer import score
from m3rag.evaluation.slices import Slice
from m3rag.evaluation.sources import read_set

__all__ = [
    "METRICS",
    "CorpusDocument",
    "Difference",
    "Query",
    "Report",
    "RetrievalSet",
    "Scores",
    "Slice",
    "SliceScores",
    "aggregate",
    "balance",
    "evaluate",
    "measure",
    "named_systems",
    "read_run",
    "read_set",
    "score",
    "score_run",
    "write_runs",
]
