"""LangChain components for an M3 model and index.

`m3rag.langchain.qdrant` and `m3rag.langchain.milvus` provide sparse embeddings for these stores.
`M3Store` and `M3AnswerMiddleware` need the extra `agents`; they are imported when they are first
used, and not by `import *`.
"""

from typing import TYPE_CHECKING

from m3rag.extras import lazy, require

require("langchain_core", "langchain")
require("langchain_text_splitters", "langchain")

from m3rag.langchain.answers import checked_answer
from m3rag.langchain.embeddings import M3Embeddings
from m3rag.langchain.loader import M3Loader
from m3rag.langchain.rerank import M3Reranker
from m3rag.langchain.retrievers import M3EnsembleRetriever, M3SparseRetriever
from m3rag.langchain.scores import scores_of
from m3rag.langchain.splitter import M3TextSplitter
from m3rag.langchain.tool import found_documents, retrieval_tool
from m3rag.langchain.translator import M3Translator
from m3rag.langchain.vectorstore import M3VectorStore

if TYPE_CHECKING:
    from m3rag.langchain.answer_middleware import M3AnswerMiddleware as M3AnswerMiddleware
    from m3rag.langchain.graph_store import M3Store as M3Store

__all__ = [
    "M3Embeddings",
    "M3EnsembleRetriever",
    "M3Loader",
    "M3Reranker",
    "M3SparseRetriever",
    "M3TextSplitter",
    "M3Translator",
    "M3VectorStore",
    "checked_answer",
    "found_documents",
    "retrieval_tool",
    "scores_of",
]

__getattr__ = lazy(
    __name__,
    {
        "M3AnswerMiddleware": "m3rag.langchain.answer_middleware",
        "M3Store": "m3rag.langchain.graph_store",
    },
)
