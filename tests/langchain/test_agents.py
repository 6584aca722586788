"""The retrieval tool, structured queries and the loader."""

import datetime as dt
import zipfile
from pathlib import Path

import pytest
from langchain_classic.retrievers import SelfQueryRetriever  # noqa: TID251  # in use
from langchain_classic.retrievers.parent_document_retriever import (  # noqa: TID251
    ParentDocumentRetriever,
)
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda
from langchain_core.stores import InMemoryStore
from langchain_core.structured_query import (
    Comparator,
    Comparison,
    Operation,
    Operator,
    StructuredQuery,
)
from langchain_text_splitters import TextSplitter

from m3rag import M3Index, read, split
from m3rag.documents import Fields
from m3rag.errors import ArgumentError, DocumentError, InputError
from m3rag.frameworks.numbered import NOTHING
from m3rag.langchain import (
    M3EnsembleRetriever,
    M3Loader,
    M3TextSplitter,
    M3Translator,
    M3VectorStore,
    retrieval_tool,
)
from tests.langchain.conftest import QUERY, ids

LESSONS = Path(__file__).parents[2] / "examples" / "lessons"
CALL = {"name": "plants", "args": {"query": QUERY}, "id": "1", "type": "tool_call"}


async def test_the_tool_returns_text_and_documents(shared_index):
    retriever = M3EnsembleRetriever(shared_index, k=2)
    tool = retrieval_tool(retriever, name="plants", description="Knows plants.")
    assert (tool.name, tool.description) == ("plants", "Knows plants.")
    message = tool.invoke(CALL)
    assert message.content.startswith("[1]\nFerns like shade and moist soil.\n\n[2]")
    assert message.artifact == retriever.invoke(QUERY)
    assert message.artifact[0].metadata["dense_score"]
    again = await tool.ainvoke(CALL)
    assert (again.content, again.artifact) == (message.content, message.artifact)


def test_the_tool_names_places_and_says_if_there_is_nothing(tiny):
    metadata = {"document_id": "a.md", "headings": ["Plants", "Ferns"]}
    store = M3VectorStore(model=tiny)
    tool = retrieval_tool(store)
    assert tool.invoke({"query": "ferns"}) == NOTHING
    assert tool.invoke({"query": " "}) == NOTHING
    store.add_documents([Document("Ferns like shade.", metadata=metadata)])
    assert tool.invoke({"query": "ferns"}) == "[1] a.md › Plants › Ferns\nFerns like shade."


def test_wrong_tools(shared_index):
    with pytest.raises(InputError, match="must be a retriever or a vector store"):
        retrieval_tool(shared_index)
    with pytest.raises(ArgumentError, match="Did you mean `description`"):
        retrieval_tool(M3EnsembleRetriever(shared_index), descripton="x")


def comparison(comparator, value, attribute="a"):
    return Comparison(comparator=comparator, attribute=attribute, value=value)


STORED = {
    "first": {"a": 1, "tags": ["x", "y"], "day": dt.date(2024, 5, 1), "name": "The old fern"},
    "second": {"a": 2, "tags": ["z"], "day": dt.date(2025, 5, 1), "name": "A pump"},
}
BOTH = ["first", "second"]


@pytest.fixture(params=["memory", "folder"], scope="module")
def stored(request, tiny, tmp_path_factory):
    path = None if request.param == "memory" else tmp_path_factory.mktemp("stored") / "kb"
    documents = [Document("A text.", id=name, metadata=m) for name, m in STORED.items()]
    with M3VectorStore.from_documents(documents, model=tiny, path=path) as store:
        yield store


@pytest.mark.parametrize(
    ("directive", "expected"),
    [
        (comparison(Comparator.EQ, 1), ["first"]),
        (comparison(Comparator.NE, 1), ["second"]),
        (comparison(Comparator.GT, 1), ["second"]),
        (comparison(Comparator.GTE, 1), BOTH),
        (comparison(Comparator.LT, 2), ["first"]),
        (comparison(Comparator.LTE, 2), BOTH),
        (comparison(Comparator.IN, [1, 7]), ["first"]),
        (comparison(Comparator.NIN, [1, 7]), ["second"]),
        (comparison(Comparator.CONTAIN, "x", "tags"), ["first"]),
        (comparison(Comparator.CONTAIN, "fern", "name"), ["first"]),
        (comparison(Comparator.CONTAIN, 2), ["second"]),
        (comparison(Comparator.LIKE, "A%", "name"), ["second"]),
        (comparison(Comparator.GT, {"date": "2024-12-31", "type": "date"}, "day"), ["second"]),
        (
            Operation(
                operator=Operator.AND,
                arguments=[comparison(Comparator.GTE, 1), comparison(Comparator.LT, 2)],
            ),
            ["first"],
        ),
        (
            Operation(
                operator=Operator.OR,
                arguments=[comparison(Comparator.EQ, 1), comparison(Comparator.EQ, 2)],
            ),
            BOTH,
        ),
        (Operation(operator=Operator.NOT, arguments=[comparison(Comparator.EQ, 1)]), ["second"]),
    ],
    ids=str,
)
def test_every_comparator_and_operator(stored, directive, expected):
    assert sorted(ids(stored.documents(directive.accept(M3Translator())))) == expected


@pytest.mark.parametrize(
    "where",
    [
        {"a": {"$eq": 1}},
        {"a": {"$ne": 2}},
        {"$and": [{"a": {"$gte": 1}}, {"a": {"$lt": 2}}]},
        {"$or": [{"a": {"$gt": 5}}, {"tags": {"$in": ["x"]}}]},
        {"$not": {"a": {"$nin": [1]}}},
        {"$and": [{"tags": {"$exists": True}}, {"name": {"$like": "%fern"}}]},
        {"day": {"$lte": dt.date(2024, 6, 1)}},
    ],
    ids=str,
)
def test_the_dialect_of_other_stores(stored, where):
    assert ids(stored.similarity_search("text", filter=where)) == ["first"]
    retriever = stored.as_retriever(search_kwargs={"filter": where})
    assert ids(retriever.invoke("text")) == ["first"]
    assert ids(M3EnsembleRetriever(stored, filter=where).invoke("text")) == ["first"]


@pytest.mark.parametrize("own", [{"start": 12}, {"end": 30}, {"document_id": 7}, {"headings": "F"}])
@pytest.mark.parametrize("path", [None, "kb"])
def test_filters_match_what_the_document_shows(tiny, tmp_path, own, path):
    metadata = {"start": 12, "end": 30, "id": "m", "document_id": 7, "headings": ["F"]}
    document = Document("Ferns like shade.", id="v1", metadata=metadata)
    place = path and tmp_path / path
    with M3VectorStore.from_documents([document], model=tiny, path=place) as store:
        for where in (own, {"id": "m"}, {"id": "v1"}):
            assert store.similarity_search("fern", filter=where) == [document]


def test_the_self_query_retriever(stored):
    above = comparison(Comparator.GT, 1)
    asked = StructuredQuery(query="text", filter=above)
    retriever = SelfQueryRetriever(
        query_constructor=RunnableLambda(lambda _: asked),  # a chain with a language model
        vectorstore=stored,
        structured_query_translator=M3Translator(),
    )
    assert ids(retriever.invoke("texts with a above one")) == ["second"]
    asked = StructuredQuery(query="text", limit=1, filter=None)
    assert len(retriever.invoke("one text")) == 1


def test_the_splitter_in_a_parent_document_retriever(tiny):
    splitter = M3TextSplitter(tiny, chunk_size=16, chunk_overlap=0)
    assert isinstance(splitter, TextSplitter)
    store = M3VectorStore(model=tiny)
    parents = ParentDocumentRetriever(
        vectorstore=store,
        docstore=InMemoryStore(),
        child_splitter=splitter,
        parent_splitter=M3TextSplitter(tiny, chunk_size=64, chunk_overlap=0),
    )
    text = "\n\n".join(f"Paragraph {i} about ferns and pumps, and more." for i in range(12))
    parents.add_documents([Document(text, id="a.md")])
    (parent, *_) = parents.invoke("Paragraph 7")
    assert "Paragraph 7" in parent.page_content
    children = store.documents()
    assert len(children) > 6
    for child in children:  # spans are those of the document, not of the parent
        at = child.metadata
        assert at["document_id"] == "a.md"
        assert text[at["start"] : at["end"]] == child.page_content


def test_the_loader_returns_files(tiny):
    loader = M3Loader(LESSONS)
    documents = loader.load()
    assert ids(documents) == sorted(path.name for path in LESSONS.glob("*.md"))
    assert documents[0].page_content == read(LESSONS / str(documents[0].id)).text
    (single,) = M3Loader(LESSONS / "en-plant-growth.md").load()
    assert single.id == "en-plant-growth.md"
    assert single.metadata["format"]
    splitter = M3TextSplitter(tiny, chunk_size=128)
    assert repr(splitter) == "M3TextSplitter('tiny', chunk_size=128, chunk_overlap=16)"
    assert repr(M3Loader("x", splitter=splitter)) == f"M3Loader('x', splitter={splitter!r})"


async def test_the_loader_returns_passages(tiny):
    splitter = M3TextSplitter(tiny, chunk_size=128, chunk_overlap=16)
    loader = M3Loader(LESSONS, splitter=splitter)
    first = next(loader.lazy_load())
    assert first.metadata["start"] == 0
    file = sorted(LESSONS.glob("*.md"))[0]
    expected = split(read(file, id=file.name), tiny.tokenizer, max_tokens=128, overlap=16)
    found = [d async for d in loader.alazy_load() if d.metadata["document_id"] == file.name]
    assert [(d.id, d.page_content) for d in found] == [(p.id, p.text) for p in expected]
    assert [d.metadata.get("headings", []) for d in found] == [list(p.headings) for p in expected]


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "a.md").write_text("Ferns.")
    (tmp_path / "b.md").write_text("")
    with pytest.raises(DocumentError, match=r"b\.md is empty"):
        M3Loader(tmp_path).load()
    with pytest.warns(UserWarning, match=r"Left out: .*b\.md is empty"):
        assert ids(M3Loader(tmp_path, errors="warn").load()) == ["a.md"]
    assert ids(M3Loader(tmp_path, exclude=["b*"]).load()) == ["a.md"]
    with pytest.raises(DocumentError, match="does not exist"):
        M3Loader(tmp_path / "c").load()
    for settings in ({"errors": "skip"}, {"splitter": len}, {"exclude": "b*"}):
        with pytest.raises(InputError, match="must be"):
            M3Loader(tmp_path, **settings)


def test_files_in_files(tmp_path):
    with zipfile.ZipFile(tmp_path / "notes.zip", "w") as archive:
        archive.writestr("a.md", "Ferns.")
        archive.writestr("b.txt", "Cacti.")
    found = M3Loader(tmp_path).load()
    assert [(d.id, d.page_content) for d in found] == [
        ("notes.zip/a.md", "Ferns."),
        ("notes.zip/b.txt", "Cacti."),
    ]


def test_fields_and_encodings(tmp_path):
    (tmp_path / "plants.csv").write_text("name,note,price\nFern,likes shade,3\n")
    (tmp_path / "old.txt").write_bytes("Папоротник любит тень.".encode("cp1251"))
    loader = M3Loader(tmp_path, fields=Fields(text=("note",), id="name"), encoding="cp1251")
    old, plants = loader.load()
    assert old.page_content == "Папоротник любит тень."
    assert "likes shade" in plants.page_content
    assert "price" not in plants.page_content


def test_a_folder_goes_into_a_store(tiny, tmp_path):
    (tmp_path / "a.md").write_text("# Ferns\n\nThey like shade.")
    loader = M3Loader(tmp_path, splitter=M3TextSplitter(tiny))
    with M3VectorStore.from_documents(loader.lazy_load(), model=tiny, path=tmp_path / "kb"):
        pass
    with M3Index.open(tmp_path / "kb") as index:
        assert [p.document_id for p in index.passages()] == ["a.md"]
