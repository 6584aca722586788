"""A retrieval tool for agents: what a language model reads, and what the program gets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from langchain_core.callbacks import Callbacks
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import BaseTool, StructuredTool
from langchain_core.vectorstores import VectorStore
from pydantic import BaseModel, ConfigDict, Field

from m3rag.errors import InputError
from m3rag.frameworks import Found, numbered, refusing
from m3rag.limits import shown


class _Search(BaseModel):
    """The arguments that a language model passes to the tool."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(description="What to search for, in any language.")


@refusing
def retrieval_tool(
    retriever: BaseRetriever | VectorStore,
    *,
    name: str = "search",
    description: str = "Search the documents. Returns numbered passages to cite, like [1].",
) -> BaseTool:
    r"""Return a tool that searches, for `create_agent`, LangGraph's `ToolNode` or `bind_tools`.

    The language model reads the numbered passages with their places: "[1] plants.md › Ferns". The
    artifact of the tool's message has the documents themselves, with ids, spans and scores, in the
    order of the numbers; `found_documents` returns them. Both `invoke` and `ainvoke` work.

    Example:
        >>> from m3rag.langchain import M3EnsembleRetriever
        >>> retriever = M3EnsembleRetriever.from_texts(["Ferns like shade."], model="tiny")
        >>> tool = retrieval_tool(retriever, name="plants")
        >>> tool.invoke({"query": "Where do I put my fern?"})
        '[1]\nFerns like shade.'

    Args:
        retriever: A retriever, or a vector store.
        name: The name of the tool, for the language model.
        description: What the tool is for, for the language model.
    """
    source = retriever.as_retriever() if isinstance(retriever, VectorStore) else retriever
    if not isinstance(source, BaseRetriever):
        raise InputError(f"`retriever` must be a retriever or a vector store, got {shown(source)}.")

    def search(query: str, callbacks: Callbacks = None) -> tuple[str, list[Document]]:
        documents = source.invoke(query, {"callbacks": callbacks})
        return numbered_text(documents), documents

    async def asearch(query: str, callbacks: Callbacks = None) -> tuple[str, list[Document]]:
        documents = await source.ainvoke(query, {"callbacks": callbacks})
        return numbered_text(documents), documents

    return StructuredTool.from_function(
        search,
        asearch,
        name=name,
        description=description,
        args_schema=_Search,
        response_format="content_and_artifact",
    )


def found_documents(message: BaseMessage) -> list[Document]:
    """Return the documents of a message of `retrieval_tool`; none for another message.

    The checkpoints of LangGraph store documents as dicts. They become documents again.

    Args:
        message: A message of an agent's state.
    """
    found = getattr(message, "artifact", None)
    if not isinstance(found, list):
        return []
    documents = [Document(**one) if _is_stored(one) else one for one in found]
    return documents if all(isinstance(one, Document) for one in documents) else []


def _is_stored(value: object) -> bool:
    return isinstance(value, dict) and value.get("type") == "Document"


def numbered_text(documents: Sequence[Document], numbers: Iterable[int] | None = None) -> str:
    """Return what a language model reads of documents; see `m3rag.frameworks.numbered`."""
    return numbered(map(_found, documents), numbers)


def _found(document: Document) -> Found:
    at = document.metadata
    name = at.get("document_id") or at.get("source")
    return Found(name, at, at.get("headings") or (), document.page_content)
