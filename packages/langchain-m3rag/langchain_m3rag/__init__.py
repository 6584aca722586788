"""The LangChain components of m3rag, re-exported from `m3rag.langchain`."""

from m3rag.langchain import (
    M3Embeddings,
    M3EnsembleRetriever,
    M3Loader,
    M3Reranker,
    M3SparseRetriever,
    M3TextSplitter,
    M3Translator,
    M3VectorStore,
    checked_answer,
    found_documents,
    retrieval_tool,
    scores_of,
)

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
