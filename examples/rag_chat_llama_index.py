"""Chat about long documents with LlamaIndex, with memory and citations.

Run it with `python examples/rag_chat_llama_index.py`. It works offline: the documents are the
lessons in `lessons/`, each in a different language, the retrieval model is "small", and a mock
language model returns prepared answers. For your own chat, pass any LlamaIndex language model:

    chat = Chat(LESSONS, Ollama(model="llama3.2"), model="BAAI/bge-m3")
    print(chat.ask("How is a device kept secure?").text)

Needs `pip install "m3rag[llama-index,small]"`, and the extra `documents` for HTML, PDF and Word
files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.chat_engine import CondensePlusContextChatEngine
from llama_index.core.llms import LLM, CompletionResponse, CompletionResponseGen, MockLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import Document, NodeWithScore, QueryBundle

from m3rag import M3Model, read, shared_model
from m3rag.documents import find
from m3rag.llama_index import M3EnsembleRetriever, M3NodeParser, M3Reranker

LESSONS = Path(__file__).parent / "lessons"

SYSTEM = (
    "Answer from the passages only, in the language of the question. Cite the passages you use by "
    "their numbers, like [1]. If they do not answer, say so."
)


@dataclass(frozen=True)
class Answer:
    """The text from the language model and the passages it cites, by number."""

    text: str
    cited: dict[int, NodeWithScore]


class Chat:
    """A conversation about the documents in a folder.

    Args:
        folder: The folder with Markdown, text, HTML, PDF and Word files.
        llm: Any LlamaIndex language model.
        model: The retrieval model, or its name.
    """

    def __init__(self, folder: Path, llm: LLM, model: M3Model | str) -> None:
        model = shared_model(model) if isinstance(model, str) else model
        self.retriever = M3EnsembleRetriever.from_documents(
            [load(path) for path in find(folder)],
            model=model,
            node_parser=M3NodeParser(model=model, max_tokens=256),
            similarity_top_k=20,
            weights="cross-lingual",
        )
        self.engine = CondensePlusContextChatEngine.from_defaults(
            self.retriever,
            llm=llm,
            memory=ChatMemoryBuffer.from_defaults(llm=llm),
            system_prompt=SYSTEM,
            node_postprocessors=[M3Reranker(index=self.retriever.index, top_n=4), Number()],
        )

    def ask(self, question: str) -> Answer:
        """Answer a question, which may refer to earlier questions and answers."""
        response = self.engine.chat(question)
        numbered = dict(enumerate(response.source_nodes, 1))
        text = str(response)
        cited = {n: numbered[n] for n in map(int, re.findall(r"\[(\d+)\]", text)) if n in numbered}
        return Answer(text, cited)


class Number(BaseNodePostprocessor):
    """Show the language model each passage's number, and hide the rest of its metadata."""

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return [numbered(found, n) for n, found in enumerate(nodes, 1)]


def numbered(found: NodeWithScore, number: int) -> NodeWithScore:
    """Return a copy of a node that shows its number to the language model."""
    changes = {
        "metadata": {**found.metadata, "passage": f"[{number}]"},
        "excluded_llm_metadata_keys": list(found.metadata),
    }
    return found.model_copy(update={"node": found.node.model_copy(update=changes)})


def load(path: Path) -> Document:
    """Load a file as a LlamaIndex document."""
    document = read(path, id=path.name)
    return Document(id_=document.id, text=document.text, metadata=dict(document.metadata))


def citation(found: NodeWithScore) -> str:
    """Return the location of a passage: document, headings, character span."""
    node = found.node
    place = " › ".join([node.ref_doc_id, *node.metadata.get("headings", ())])
    return f"{place}, characters {node.start_char_idx:,} to {node.end_char_idx:,}"


class Prepared(MockLLM):
    """A mock language model that returns prepared answers in order."""

    _answers: Iterator[str] = PrivateAttr()

    def __init__(self, answers: Iterable[str]) -> None:
        super().__init__()
        self._answers = iter(answers)

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Return the next answer."""
        return CompletionResponse(text=next(self._answers))

    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        """Yield the next answer in one piece."""
        yield self.complete(prompt)


def main(model: str = "small") -> None:
    """Run a short conversation with prepared answers and real citations."""
    prepared = [
        "Mit einem symmetrischen Schlüssel wird eine Nachricht ver- und auch entschlüsselt; ihn "
        "müssen beide Seiten kennen [1].",
        "How does an X.509 certificate secure the connection of a device?",  # follow-up, rewritten
        "Each side keeps a private key and gives away only the public one, in its certificate "
        "[2]; the file with the private key must be kept safe [1].",
    ]
    chat = Chat(LESSONS, Prepared(prepared), model=model)
    for question in ("Was ist ein symmetrischer Schlüssel?", "And how does X.509 do better?"):
        answer = chat.ask(question)
        print(f"> {question}\n{answer.text}")
        for number, found in answer.cited.items():
            print(f"  [{number}] {citation(found)}")
        print()


if __name__ == "__main__":
    main()
