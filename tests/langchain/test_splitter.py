"""The text splitter: exact spans, limits, headings and ids."""

from pathlib import Path

import pytest
from langchain_core.documents import BaseDocumentTransformer, Document

import m3rag
from m3rag.errors import InputError
from m3rag.langchain import M3EnsembleRetriever, M3TextSplitter

LESSONS = sorted((Path(__file__).parents[2] / "examples" / "lessons").glob("*.md"))


def lesson(path):
    read = m3rag.read(path, id=path.name)
    return Document(read.text, id=read.id, metadata=dict(read.metadata))


@pytest.fixture(scope="module")
def documents():
    return [lesson(path) for path in LESSONS]


@pytest.fixture(scope="module")
def passages(documents, tiny):
    return M3TextSplitter(tiny, chunk_size=128, chunk_overlap=16).split_documents(documents)


def test_spans_are_exact(documents, passages):
    texts = {document.id: document.page_content for document in documents}
    for passage in passages:
        start, end = passage.metadata["start"], passage.metadata["end"]
        assert texts[passage.metadata["document_id"]][start:end] == passage.page_content


def test_no_passage_is_too_long(passages, tiny):
    tokens = tiny.token_ids([passage.page_content for passage in passages])
    assert max(map(len, tokens)) + 2 <= 128


def test_passages_equal_those_of_m3rag_split(documents, passages, tiny):
    expected = [
        passage
        for path in LESSONS
        for passage in m3rag.split(
            m3rag.read(path, id=path.name), tiny.tokenizer, max_tokens=128, overlap=16
        )
    ]
    assert [p.id for p in expected] == [p.id for p in passages]
    assert [p.text for p in expected] == [p.page_content for p in passages]
    assert [list(p.headings) for p in expected] == [
        p.metadata.get("headings", []) for p in passages
    ]
    assert any(p.headings for p in expected)


def test_metadata_is_copied(documents, tiny):
    document = Document("a b", id="x", metadata={"list": [1], "source": "x.md"})
    (passage,) = M3TextSplitter(tiny).split_documents([document])
    assert passage.metadata == {
        "list": [1],
        "source": "x.md",
        "document_id": "x",
        "start": 0,
        "end": 3,
    }
    passage.metadata["list"].append(2)
    assert document.metadata == {"list": [1], "source": "x.md"}


def test_the_same_splits_give_the_same_ids(tiny):
    """A PDF loader returns one document per page: the same source, and no ids."""
    pages = [Document("a page", metadata={"source": "x.pdf", "page": n}) for n in (1, 2)]
    splitter = M3TextSplitter(tiny)
    first, again = (splitter.split_documents(pages) for _ in range(2))
    assert [p.id for p in first] == [p.id for p in again]
    assert len({p.id for p in first}) == 2


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_headings_with_any_line_end(tiny, end):
    text = end.join(["# One", "", "text of one", "", "# Two", "", "text of two", ""]) * 3
    passages = M3TextSplitter(tiny, chunk_size=16, chunk_overlap=0).split_documents(
        [Document(text)]
    )
    assert {tuple(p.metadata["headings"]) for p in passages} == {("One",), ("Two",)}
    for passage in passages:
        assert text[passage.metadata["start"] : passage.metadata["end"]] == passage.page_content


def test_without_markdown_headings(tiny):
    text = "# not a heading\n\ntext"
    (passage,) = M3TextSplitter(tiny, markdown=False).create_documents([text], [{"n": 1}])
    assert passage.metadata == {
        "n": 1,
        "document_id": passage.id.removesuffix("#0"),
        "start": 0,
        "end": len(text),
    }


async def test_is_a_document_transformer(documents, passages, tiny):
    splitter = M3TextSplitter(tiny, chunk_size=128, chunk_overlap=16)
    assert isinstance(splitter, BaseDocumentTransformer)
    assert splitter.transform_documents(documents) == passages
    assert await splitter.atransform_documents(documents) == passages


def test_split_text(tiny):
    splitter = M3TextSplitter(tiny, chunk_size=16, chunk_overlap=0)
    text = "One sentence. " * 20
    assert "".join(splitter.split_text(text)).count("sentence") == 20
    assert splitter.split_text("") == []


@pytest.mark.parametrize("settings", [{"chunk_size": 3}, {"chunk_overlap": 256}])
def test_limits_out_of_range(tiny, settings):
    with pytest.raises(InputError):
        M3TextSplitter(tiny, **settings).split_text("x")


def test_from_document_to_citation(documents, passages, tiny):
    retriever = M3EnsembleRetriever.from_documents(passages, model=tiny, k=1)
    found = retriever.invoke("¿Cómo riego la planta automáticamente?")[0]
    source = next(d for d in documents if d.id == found.metadata["document_id"])
    start, end = found.metadata["start"], found.metadata["end"]
    assert source.page_content[start:end] == found.page_content
    assert found.metadata["headings"]
    assert retriever.invoke("riego", filter={"document_id": source.id})
