"""The fixtures of `tests/evaluation`, for the same retrieval set."""

from tests.evaluation.conftest import passage_scores, report, scores, xquad

__all__ = ["passage_scores", "report", "scores", "xquad"]
