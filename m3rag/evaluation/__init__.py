"""How good is retrieval: sets with known answers, exact scores, metrics, statistics, reports."""

from m3rag.evaluation.data import CorpusDocument, Query, RetrievalSet
from m3rag.evaluation.evaluating import evaluate, measure
from m3rag.evaluation.metrics import METRICS
from m3rag.evaluation.report import Difference, Report
from m3rag.evaluation.runs import read_run, score_run, write_runs
from m3rag.evaluation.scores import Scores, SliceScores, aggregate, score
from m3rag.evaluation.slices import Slice

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
    "evaluate",
    "measure",
    "read_run",
    "score",
    "score_run",
    "write_runs",
]
