"""What both frameworks say about where a passage stands: document, page, table and headings."""

import pytest
from langchain_core.documents import Document as LangChainDocument
from llama_index.core.schema import Document as LlamaIndexDocument
from llama_index.core.schema import MetadataMode, NodeWithScore

from m3rag import Document, M3Index, langchain, llama_index, split
from tests.documents.test_tables import HEADER, ROWS, TEXT

QUESTION = "How many litres per week does Moss 7 need?"
CALL = {"name": "search", "args": {"query": QUESTION}, "id": "1", "type": "tool_call"}


@pytest.fixture(scope="module")
def index(tiny):
    pages = (0, TEXT.index(ROWS[10]), TEXT.index(ROWS[11]), TEXT.index(ROWS[20]))
    document = Document("plan.pdf", TEXT, metadata={"format": "pdf"}, pages=pages)
    with M3Index.open(model=tiny) as index:
        index.add(split(document, tiny.tokenizer, max_tokens=64))
        yield index


def test_pages_and_headers_are_read_and_cited(index):
    [hit] = index.search(QUESTION, 1)
    assert (hit.passage.table_header, "| Moss 7 |" in hit.passage.text) == (HEADER, True)
    assert hit.passage.place == "plan.pdf, page 4"
    message = langchain.retrieval_tool(langchain.M3EnsembleRetriever(index, k=1)).invoke(CALL)
    retriever = llama_index.M3EnsembleRetriever(index, similarity_top_k=1)
    output = llama_index.retrieval_tool(retriever).call(QUESTION)
    assert message.content == output.content == f"[1] plan.pdf, page 4\n{hit.passage.full_text}"
    documents, nodes = langchain.found_documents(message), output.raw_output
    for found in (*documents, *nodes):
        assert (found.metadata["page"], found.metadata["table_header"]) == (4, HEADER)
    said = f'It needs 39 "{HEADER}" [1].'
    for answer in (
        langchain.checked_answer(said, documents),
        llama_index.checked_answer(said, nodes),
    ):
        assert answer.supported
        assert answer.to_dict()["citations"][0]["page"] == 4
        assert answer.citations[1].passage.place == hit.passage.place
    reranked = (
        langchain.M3Reranker(model=index.model, mode="all").compress_documents(documents, QUESTION),
        llama_index.M3Reranker(model=index.model, mode="all").postprocess_nodes(
            nodes, query_str=QUESTION
        ),
    )
    scores = [langchain.scores_of(reranked[0][0]), llama_index.scores_of(reranked[1][0])]
    assert scores[0]["sparse"] == pytest.approx(hit.sparse, abs=1e-6)
    assert scores[1]["sparse"] == pytest.approx(hit.sparse, abs=1e-6)


def test_a_passage_on_several_pages_names_them(index):
    several = [p for p in index.passages() if "last_page" in p.metadata]
    assert [(p.metadata["page"], p.metadata["last_page"]) for p in several] == [(2, 3), (3, 4)]
    assert several[0].place == "plan.pdf, pages 2–3"
    [hit] = index.search(QUESTION, 1, filter={"page": 4})
    [wide] = index.expand([hit], 99)
    assert wide.passage.place == "plan.pdf, pages 1–4"
    assert wide.passage.table_header == ""
    node = llama_index.M3NeighbourPostprocessor(index, neighbours=99).postprocess_nodes(
        [NodeWithScore(node=llama_index.M3VectorStore(index).get_nodes([hit.passage.id])[0])]
    )[0]
    assert (node.metadata["last_page"], "table_header" in node.metadata) == (4, False)


def test_pages_of_other_loaders(tiny):
    store = langchain.M3VectorStore(model=tiny)
    zero_based = {"source": "a.pdf", "total_pages": 9, "page": 2}
    store.add_documents([LangChainDocument("Ferns like shade.", metadata=zero_based)])
    tool = langchain.retrieval_tool(store)
    assert tool.invoke({"query": "ferns"}).startswith("[1] a.pdf, page 3\n")
    labelled = LangChainDocument("Moss.", id="b", metadata=zero_based | {"page_label": "iv"})
    assert langchain.checked_answer("[1]", [labelled]).hits[0].passage.place == "b, page iv"


def test_both_splitters_carry_the_header(tiny):
    splitter = langchain.M3TextSplitter(tiny, chunk_size=64)
    parser = llama_index.M3NodeParser(model=tiny, max_tokens=64)
    documents = splitter.split_documents([LangChainDocument(TEXT, id="plan.md")])
    nodes = parser([LlamaIndexDocument(text=TEXT, id_="plan.md")])
    headers = [document.metadata.get("table_header") for document in documents]
    assert headers == [node.metadata.get("table_header") for node in nodes]
    assert (headers[0], headers[2]) == (None, HEADER)
    assert HEADER in nodes[2].get_content(MetadataMode.EMBED)  # for stores of others
    stores = (
        langchain.M3VectorStore.from_documents(documents, model=tiny),
        llama_index.M3VectorStore.from_nodes(nodes, model=tiny),
    )
    first, second = ([(p.full_text, p.start) for p in s.index.passages()] for s in stores)
    assert sorted(first) == sorted(second)
    given = [node.model_copy(update={"embedding": None}) for node in nodes[1:3]]
    for node in given:
        text = node.get_content(MetadataMode.EMBED)
        node.embedding = tiny.encode([text]).dense[0].tolist()
    llama_index.M3VectorStore(model=tiny).add(given)  # is not refused


def test_both_splitters_split_a_passage_of_a_table_again(tiny):
    text = "\n".join(ROWS[:6]) + "\n\n" + "Then it rains for many days. " * 4
    metadata = {"table_header": HEADER}
    whole = LangChainDocument(text, id="a", metadata=metadata)
    documents = langchain.M3TextSplitter(tiny, chunk_size=48).split_documents([whole])
    node = LlamaIndexDocument(text=text, id_="a", metadata=metadata)
    nodes = llama_index.M3NodeParser(model=tiny, max_tokens=48)([node])
    kept = [document.metadata.get("table_header") for document in documents]
    assert kept == [node.metadata.get("table_header") for node in nodes]
    assert kept == [HEADER if d.page_content.startswith("|") else None for d in documents]
    assert {*kept} == {HEADER, None}
