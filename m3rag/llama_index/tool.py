"""A retrieval tool for agents: what a language model reads, and what the program gets."""

from __future__ import annotations

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.indices.vector_store.base import VectorStoreIndex
from llama_index.core.schema import MetadataMode, NodeWithScore
from llama_index.core.tools import AsyncBaseTool, ToolMetadata, ToolOutput

from m3rag.errors import InputError
from m3rag.frameworks import Found, numbered, refusing
from m3rag.limits import shown
from m3rag.llama_index.nodes import HEADINGS
from m3rag.llama_index.retrievers import M3EnsembleRetriever
from m3rag.llama_index.vectorstore import M3VectorStore


class M3RetrievalTool(AsyncBaseTool):
    """A tool that searches; made by `retrieval_tool`."""

    def __init__(self, retriever: BaseRetriever, metadata: ToolMetadata) -> None:
        self.retriever = retriever
        self._metadata = metadata

    @property
    def metadata(self) -> ToolMetadata:
        """The name, the description and the arguments, for the language model."""
        return self._metadata

    def call(self, input: str) -> ToolOutput:
        """Search, and return the numbered passages with the nodes."""
        return self._output(input, self.retriever.retrieve(input))

    async def acall(self, input: str) -> ToolOutput:
        """Run `call` without blocking the event loop."""
        return self._output(input, await self.retriever.aretrieve(input))

    def _output(self, query: str, found: list[NodeWithScore]) -> ToolOutput:
        return ToolOutput(
            tool_name=self.metadata.get_name(),
            content=numbered(map(_found, found)),
            raw_input={"input": query},
            raw_output=found,
        )


@refusing
def retrieval_tool(
    retriever: BaseRetriever | VectorStoreIndex | M3VectorStore,
    *,
    name: str = "search",
    description: str = "Search the documents. Returns numbered passages to cite, like [1].",
) -> M3RetrievalTool:
    r"""Return a tool that searches, for `FunctionAgent`, `ReActAgent` and workflows.

    The language model reads the numbered passages with their places: "[1] plants.md › Ferns". The
    `raw_output` has the nodes themselves, with ids, spans and scores, in the order of the numbers.
    Agents run it without blocking the event loop.

    Example:
        >>> store = M3VectorStore.from_nodes([TextNode(text="Ferns like shade.")], model="tiny")
        >>> output = retrieval_tool(store, name="plants").call("Where do I put my fern?")
        >>> output.content
        '[1]\nFerns like shade.'

    Args:
        retriever: A retriever, an `M3VectorStore`, or a `VectorStoreIndex`.
        name: The name of the tool, for the language model.
        description: What the tool is for, for the language model.
    """
    if isinstance(retriever, M3VectorStore):
        source: BaseRetriever = M3EnsembleRetriever(retriever)
    elif isinstance(retriever, VectorStoreIndex):
        source = retriever.as_retriever()
    else:
        source = retriever
    if not isinstance(source, BaseRetriever):
        raise InputError(f"`retriever` must be a retriever or a store, got {shown(source)}.")
    return M3RetrievalTool(source, ToolMetadata(description=description, name=name))


def _found(result: NodeWithScore) -> Found:
    titles, text = result.metadata.get(HEADINGS), result.get_content(MetadataMode.NONE)
    headings = titles if isinstance(titles, list) else ()
    return Found(result.node.ref_doc_id, result.metadata, headings, text)
