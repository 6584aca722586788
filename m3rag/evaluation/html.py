"""The names of `m3rag.evaluation.report_page`, where 0.1 had them."""

from m3rag.extras import lazy

__getattr__ = lazy(__name__, {"page": "m3rag.evaluation.report_page"})
