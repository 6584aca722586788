"""Answers that were written from nodes, with their citations and quotations checked."""

from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import Document

from m3rag.llama_index import M3EnsembleRetriever, M3VectorStore, checked_answer, retrieval_tool

TEXT = "# Ferns\n\nFerns like shade.\n\n# Cacti\n\nCacti like sun."


def test_citations_of_a_tool_are_spans_of_the_document(tiny):
    store = M3VectorStore.from_documents([Document(id_="plants.md", text=TEXT)], model=tiny)
    output = retrieval_tool(store).call("Who likes shade?")
    text = 'They "like shade" [1][9], and not "like snow" [1].'
    answer = checked_answer(text, output.raw_output, question="Who likes shade?")
    assert answer.text == 'They "like shade" [1], and not "like snow" [1].'
    assert (answer.removed, answer.question) == ((9,), "Who likes shade?")
    passage = answer.citations[1].passage
    assert TEXT[passage.start : passage.end] == passage.text
    assert passage.document_id == "plants.md"
    assert [quote.found for quote in answer.quotes] == [True, False]
    assert not answer.supported


def test_the_text_of_a_node_is_checked_without_its_metadata(tiny):
    document = Document(id_="a", text="Ferns like shade.", metadata={"title": "A secret garden"})
    retriever = M3EnsembleRetriever.from_documents([document], model=tiny)
    response = RetrieverQueryEngine.from_args(retriever, llm=MockLLM()).query("Who likes shade?")
    answer = checked_answer('"Ferns like shade" [1]. "A secret garden" [1].', response.source_nodes)
    assert [quote.found for quote in answer.quotes] == [True, False]
