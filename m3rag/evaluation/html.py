"""The function of `m3rag.evaluation.report_page` under its module name in 0.1."""

from m3rag.evaluation.report_page import page

__all__ = ["page"]
