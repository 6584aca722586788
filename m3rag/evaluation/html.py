"""The name of `m3rag.evaluation.report_page`, where 0.1 had it."""

from m3rag.evaluation.report_page import page

__all__ = ["page"]
