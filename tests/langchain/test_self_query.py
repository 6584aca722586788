"""`SelfQueryRetriever` with the text of a language model, parsed by lark."""

import datetime as dt
import json

import pytest
from langchain_classic.chains.query_constructor.schema import AttributeInfo  # noqa: TID251
from langchain_classic.retrievers import SelfQueryRetriever  # noqa: TID251
from langchain_core.documents import Document

from m3rag.langchain import M3Translator, M3VectorStore
from tests.langchain.conftest import ids
from tests.langchain.scripted import scripted

STORED = [
    Document("Ferns like shade.", id="fern", metadata={"lang": "en", "year": 2019, "tags": ["a"]}),
    Document("Cacti like sun.", id="cactus", metadata={"lang": "en", "year": 2024, "tags": []}),
    Document("Los helechos.", id="helecho", metadata={"lang": "es", "year": 2024, "tags": ["b"]}),
]
FIELDS = [
    AttributeInfo(name="lang", description="The language.", type="string"),
    AttributeInfo(name="year", description="The year.", type="integer"),
    AttributeInfo(name="tags", description="Topics.", type="list[string]"),
    AttributeInfo(name="day", description="The day it was written.", type="date"),
]


@pytest.fixture(scope="module")
def store(tiny):
    documents = [d.model_copy(deep=True) for d in STORED]
    documents[0].metadata["day"] = dt.date(2019, 5, 1)
    return M3VectorStore.from_documents(documents, model=tiny)


def written(query, where="NO_FILTER", **more):
    """Return what a language model writes for a question, with the prose that it adds."""
    return f"Here it is:\n```json\n{json.dumps({'query': query, 'filter': where, **more})}\n```"


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ('eq("lang", "es")', ["helecho"]),
        ('and(eq("lang", "en"), gte("year", 2020))', ["cactus"]),
        ('or(eq("lang", "es"), lt("year", 2020))', ["fern", "helecho"]),
        ('not(eq("lang", "en"))', ["helecho"]),
        ('in("lang", ["es", "de"])', ["helecho"]),
        ('contain("tags", "a")', ["fern"]),
        ('lt("day", "2020-01-01")', ["fern"]),
        ("NO_FILTER", ["cactus", "fern", "helecho"]),
    ],
)
async def test_filters_of_a_language_model(store, where, expected):
    for query in ("plants", ""):  # a question may be nothing but a filter
        if not query and where == "NO_FILTER":
            continue
        model = scripted(written(query, where), written(query, where))
        retriever = SelfQueryRetriever.from_llm(
            model, store, "Notes about plants", FIELDS, structured_query_translator=M3Translator()
        )
        assert sorted(ids(retriever.invoke("A question"))) == expected
        assert sorted(ids(await retriever.ainvoke("A question"))) == expected
    read = model.prompts[0][0].text
    assert "contain" in read  # the prompt lists what the translator knows
    assert '"year"' in read


def test_a_limit_and_the_words_of_a_filter(store):
    model = scripted(written("plants", limit=1), written("", 'eq("lang", "en")', limit=1))
    retriever = SelfQueryRetriever.from_llm(
        model,
        store,
        "Notes about plants",
        FIELDS,
        structured_query_translator=M3Translator(),
        enable_limit=True,
    )
    assert len(retriever.invoke("one plant")) == 1
    assert len(retriever.invoke("one in English")) == 1
