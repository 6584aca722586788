"""Chat about long documents with LangChain, with memory and citations.

Run it with `python examples/rag_chat_langchain.py`. It works offline: the documents are the lessons
in `lessons/`, each in a different language, the retrieval model is "small", and a fake chat model
returns prepared answers. For your own chat, pass any LangChain chat model:

    chat = Chat(LESSONS, ChatOllama(model="llama3.2"), model="BAAI/bge-m3")
    print(chat.ask("How is a device kept secure?").text)

Needs `pip install "m3rag[langchain,small]"`, and the extra `documents` for HTML, PDF and Word
files.
"""

from __future__ import annotations

from pathlib import Path

from langchain_core.language_models import BaseChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder

from m3rag import M3Model, Passage, shared_model
from m3rag.answers import Answer
from m3rag.langchain import (
    M3EnsembleRetriever,
    M3Loader,
    M3Reranker,
    M3TextSplitter,
    checked_answer,
)

LESSONS = Path(__file__).parent / "lessons"

ALONE = ChatPromptTemplate.from_messages(
    [
        MessagesPlaceholder("history"),
        ("human", "Say this so that it can be understood without what we said before: {question}"),
    ]
)
ANSWER = ChatPromptTemplate.from_messages(
    [
        (
            "system",
            "Answer from these passages only, in the language of the question. Cite the passages "
            "you use by their numbers, like [1]. If they do not answer, say so.\n\n{passages}",
        ),
        MessagesPlaceholder("history"),
        ("human", "{question}"),
    ]
)


class Chat:
    """A conversation about the documents in a folder.

    Args:
        folder: The folder with Markdown, text, HTML, PDF and Word files.
        llm: Any LangChain chat model.
        model: The retrieval model, or its name.
    """

    def __init__(self, folder: Path, llm: BaseChatModel, model: M3Model | str) -> None:
        model = shared_model(model) if isinstance(model, str) else model
        loader = M3Loader(folder, splitter=M3TextSplitter(model))
        self.retriever = M3EnsembleRetriever.from_documents(
            loader.lazy_load(), model=model, k=20, weights="cross-lingual"
        )
        self.reranker = M3Reranker(index=self.retriever.index, top_n=4)
        self.history: list[BaseMessage] = []
        self._alone = ALONE | llm | StrOutputParser()
        self._answer = ANSWER | llm | StrOutputParser()

    def ask(self, question: str) -> Answer:
        """Answer a question, which may refer to earlier ones; the citations are checked."""
        said = {"history": self.history, "question": question}
        alone = self._alone.invoke(said) if self.history else question
        found = self.reranker.compress_documents(self.retriever.invoke(alone), alone)
        passages = "\n\n".join(f"[{n}] {d.page_content}" for n, d in enumerate(found, 1))
        passages = passages or "(Nothing was found.)"
        text = self._answer.invoke({**said, "passages": passages})
        answer = checked_answer(text, found, question=question)
        self.history += [HumanMessage(question), AIMessage(answer.text)]
        return answer


def citation(passage: Passage) -> str:
    """Return the location of a passage: document, headings, character span."""
    return f"{passage.place}, characters {passage.start:,} to {passage.end:,}"


def main(model: str = "small") -> None:
    """Run a short conversation with prepared answers and real citations."""
    prepared = [
        "Mit einem symmetrischen Schlüssel wird eine Nachricht ver- und auch entschlüsselt; ihn "
        "müssen beide Seiten kennen [1].",
        "How does an X.509 certificate secure the connection of a device?",  # follow-up, rewritten
        "Each side keeps a private key and gives away only the public one, in its certificate "
        "[2]; the file with the private key must be kept safe [1].",
    ]
    llm = GenericFakeChatModel(messages=iter(prepared))
    chat = Chat(LESSONS, llm, model=model)
    for question in ("Was ist ein symmetrischer Schlüssel?", "And how does X.509 do better?"):
        answer = chat.ask(question)
        print(f"> {question}\n{answer.text}")
        for number, hit in answer.citations.items():
            print(f"  [{number}] {citation(hit.passage)}")
        print()


if __name__ == "__main__":
    main()
