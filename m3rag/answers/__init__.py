"""Written answers: a language model reads what was found, its citations are checked."""

from m3rag.answers.answering import Answer, answer, score_needed, write
from m3rag.answers.citations import Quote
from m3rag.answers.loading import load_llm
from m3rag.answers.server import ChatServer

__all__ = ["Answer", "ChatServer", "Quote", "answer", "load_llm", "score_needed", "write"]
