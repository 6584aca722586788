"""Written answers: a language model answers from search hits, and its citations are checked."""

from m3rag.answers.generation import Answer, answer, check_answer, needed_score, write
from m3rag.answers.generation import score_needed as score_needed  # its name in 0.1
from m3rag.answers.llms import load_llm
from m3rag.answers.openai_chat import OpenAIChat
from m3rag.answers.quotations import Quote

ChatServer = OpenAIChat
"""The name of `OpenAIChat` in version 0.1."""

__all__ = [
    "Answer",
    "ChatServer",
    "OpenAIChat",
    "Quote",
    "answer",
    "check_answer",
    "load_llm",
    "needed_score",
    "write",
]
