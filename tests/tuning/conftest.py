"""The retrieval set of `tests/evaluation`."""

from tests.evaluation.conftest import passage_scores, report, scores, xquad

__all__ = ["passage_scores", "report", "scores", "xquad"]
