"""What a user does with the two retrievers."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough
from langchain_core.tools import create_retriever_tool
from pydantic import ValidationError

from m3rag import M3Index, Passage
from m3rag.errors import InputError
from m3rag.langchain import M3EnsembleRetriever, M3SparseRetriever
from tests.conftest import passes_need_the_loop
from tests.langchain.conftest import DOCUMENTS, QUERY, ids

QUERIES = [QUERY, "¿Dónde crece el helecho?", "When does the pump run?"]


def test_documents_carry_all_scores(ensemble, shared_index):
    hits = shared_index.search(QUERY, 3)
    for document, hit in zip(ensemble.invoke(QUERY), hits, strict=True):
        original = next(d for d in DOCUMENTS if d.id == hit.passage.id)
        assert document.id == hit.passage.id
        assert document.page_content == original.page_content
        assert document.metadata == {
            **original.metadata,
            "relevance_score": hit.score,
            "dense_score": hit.dense,
            "sparse_score": hit.sparse,
            "colbert_score": hit.colbert,
        }
        assert {type(v) for k, v in document.metadata.items() if k.endswith("score")} == {float}


def test_the_sparse_retriever_scores_by_common_tokens(shared_index):
    (best, *_) = found = M3SparseRetriever(index=shared_index).invoke("ferns in the shade")
    assert best.id == "fern"
    assert best.metadata["relevance_score"] == best.metadata["sparse_score"] > 0
    assert "dense_score" not in best.metadata
    scores = [document.metadata["relevance_score"] for document in found]
    assert scores == sorted(scores, reverse=True)


def test_sparse_finds_nothing_without_a_common_token(shared_index):
    assert M3SparseRetriever(index=shared_index).invoke("ζζζ") == []


def test_documents_given_are_not_changed(documents, fresh):
    M3EnsembleRetriever.from_documents(documents, model=fresh).invoke(QUERY)
    assert documents == DOCUMENTS


def test_documents_found_are_copies(ensemble):
    first = ensemble.invoke("When does the pump run?", k=1)[0]
    first.metadata["nested"]["a"].append("changed")
    again = ensemble.invoke("When does the pump run?", k=1)[0]
    assert again.metadata["nested"] == {"a": [1, {"b": None}], "c": 0.5, "d": True}


def test_what_is_changed_after_adding_is_not_in_the_index(documents, tiny):
    retriever = M3EnsembleRetriever.from_documents(documents, model=tiny, k=1)
    documents[4].metadata["nested"]["a"].clear()
    found = retriever.invoke("The pump waters the plants")[0]
    assert found.metadata["nested"]["a"] == [1, {"b": None}]


def test_equal_texts_with_different_ids_stay_two(tiny):
    documents = [Document("the same", id=name, metadata={"n": name}) for name in ("a", "b")]
    found = M3EnsembleRetriever.from_documents(documents, model=tiny).invoke("the same")
    assert [(document.id, document.metadata["n"]) for document in found] == [("a", "a"), ("b", "b")]
    assert found[0].metadata["relevance_score"] == found[1].metadata["relevance_score"]


def test_documents_without_id_get_one_that_follows_from_them(tiny):
    documents = [Document("x", metadata={"n": 1}), Document("x", metadata={"n": 2}), Document("x")]
    retriever = M3EnsembleRetriever.from_documents(documents, model=tiny)
    retriever.index.add([])
    again = M3EnsembleRetriever.from_documents(documents, model=tiny)
    assert len(retriever.index) == 3
    assert set(ids(retriever.invoke("x"))) == set(ids(again.invoke("x")))


def test_from_texts(tiny):
    retriever = M3SparseRetriever.from_texts(
        ["a fern", "a pump"], [{"n": 1}, {"n": 2}], ids=["f", "p"], model=tiny, k=1
    )
    found = retriever.invoke("pump")[0]
    assert (found.id, found.metadata["n"]) == ("p", 2)
    assert retriever.index.manifest.colbert == "off"


def test_from_texts_wants_one_id_a_text(tiny):
    with pytest.raises(InputError, match="2 texts and 1 ids"):
        M3EnsembleRetriever.from_texts(["a", "b"], ids=["1"], model=tiny)


def test_a_model_by_name_is_the_shared_one():
    first = M3EnsembleRetriever.from_texts(["a"], model="tiny")
    second = M3SparseRetriever.from_texts(["a"], model="tiny")
    assert first.index.model is second.index.model


def test_an_index_in_a_folder_made_elsewhere(tiny, tmp_path):
    passage = Passage("a#0", "Ferns like shade.", {"k": 1}, "a.md", 10, 27, ("Plants", "Ferns"))
    with M3Index.open(tmp_path / "kb", model=tiny) as index:
        index.add([passage])
    with M3Index.open(tmp_path / "kb", model=tiny) as index:
        found = M3EnsembleRetriever(index=index).invoke("ferns")[0]
    assert found.metadata["document_id"] == "a.md"
    assert (found.metadata["start"], found.metadata["end"]) == (10, 27)
    assert found.metadata["headings"] == ["Plants", "Ferns"]
    assert found.metadata["k"] == 1


def test_a_citation_in_metadata_becomes_the_passages_own(tiny):
    metadata = {"document_id": "a.md", "start": 3, "end": 9, "headings": ["Plants"]}
    documents = [Document("a fern", id="a.md#0", metadata=metadata), Document("a fern", id="b")]
    retriever = M3EnsembleRetriever.from_documents(documents, model=tiny)
    assert retriever.index.get(["a.md#0"]) == [
        Passage("a.md#0", "a fern", {}, "a.md", 3, 9, ("Plants",))
    ]
    found = retriever.invoke("fern", filter={"document_id": "a.md"})
    assert ids(found) == ["a.md#0"]
    assert found[0].metadata.items() >= metadata.items()


@pytest.mark.parametrize(
    "metadata",
    [
        {"document_id": 7, "start": "3", "end": None, "headings": "Plants"},
        {"headings": [], "document_id": True, "start": 1.0},
        {"headings": [1, "a"]},
    ],
)
def test_metadata_that_only_look_like_a_citation_come_back(tiny, metadata):
    documents = [Document("a fern", id="a", metadata=metadata)]
    found = M3EnsembleRetriever.from_documents(documents, model=tiny).invoke("fern")[0]
    rest = {k: v for k, v in found.metadata.items() if not k.endswith("_score")}
    assert rest == metadata


@pytest.mark.parametrize("value", [object(), {1: "a"}, {"a": {1, 2}}, float("nan")])
def test_metadata_that_is_not_json_is_refused(tiny, value):
    with pytest.raises(InputError, match="metadata JSON"):
        M3EnsembleRetriever.from_documents([Document("x", metadata={"v": value})], model=tiny)


def test_a_filter(shared_index):
    retriever = M3EnsembleRetriever(index=shared_index, filter={"lang": ["es", "zh"]})
    assert set(ids(retriever.invoke(QUERY))) == {"helecho", "植物"}
    assert ids(retriever.invoke(QUERY, filter={"year": {"gte": 2000}})) == ["fern"]


def test_weights_fusion_channels_and_candidates_reach_the_index(shared_index):
    retriever = M3EnsembleRetriever(
        index=shared_index, k=2, weights=(1, 5, 0), fusion="rrf", channels=["dense", "sparse"],
        candidates=4,
    )  # fmt: skip
    hits = shared_index.search(
        QUERY, 2, weights=(1, 5, 0), fusion="rrf", channels=["dense", "sparse"], candidates=4
    )
    found = retriever.invoke(QUERY)
    assert [d.metadata["relevance_score"] for d in found] == [hit.score for hit in hits]
    assert "colbert_score" not in found[0].metadata


def test_rrf_minds_the_weights(shared_index):
    """LlamaIndex's fusion ignores them."""
    scores = [
        M3EnsembleRetriever(index=shared_index, fusion="rrf", weights=weights)
        .invoke(QUERY)[0]
        .metadata["relevance_score"]
        for weights in [(1, 1, 1), (4, 1, 1)]
    ]
    assert scores == pytest.approx([3 / 61, 6 / 61])


def test_one_channel_may_have_constant_scores(tiny):
    """Normalising fusions divide by zero here."""
    retriever = M3EnsembleRetriever.from_texts(["same", "same"], ids=["a", "b"], model=tiny)
    assert ids(retriever.invoke("other words")) == ["a", "b"]


def test_negative_scores_keep_their_order(tiny, monkeypatch):
    texts = [document.page_content for document in DOCUMENTS]
    retriever = M3EnsembleRetriever.from_texts(texts, model=tiny, weights=(1, 0, 0), k=5)
    vector = -tiny.encode([QUERY]).dense[0]
    expected = [hit.passage.id for hit in retriever.index.search_by_vector(vector, 5)]
    assert ids(retriever.invoke(QUERY)) == expected[::-1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 0}, "k must be a whole number of at least 1, got 0"),
        ({"weights": "nonsense"}, "there are .default., .long-document."),
        ({"fusion": "max"}, "there are .weighted. and .rrf."),
        ({"candidates": 2}, "candidates=2 cannot give k=4"),
        ({"balance": "lang", "fusion": "rrf"}, "ranks do not see"),
    ],
)
def test_bad_settings_are_refused_when_it_is_made(shared_index, settings, message):
    with pytest.raises(ValidationError, match=message):
        M3EnsembleRetriever(index=shared_index, **settings)


def test_an_unknown_field_is_refused(shared_index):
    with pytest.raises(ValidationError, match="top_k"):
        M3EnsembleRetriever(index=shared_index, top_k=3)


def test_an_unknown_argument_of_a_call_is_refused(ensemble):
    with pytest.raises(TypeError, match="top_k"):
        ensemble.invoke(QUERY, top_k=3)


@pytest.mark.parametrize("kind", [M3EnsembleRetriever, M3SparseRetriever])
async def test_k_of_a_call_goes_before_the_field(shared_index, kind):
    retriever = kind(index=shared_index, k=1)
    query = "the fern likes water and the sun"
    assert len(retriever.invoke(query, k=2)) == 2
    assert len(await retriever.ainvoke(query, k=2)) == 2
    assert [len(d) for d in retriever.batch([query] * 2, k=2)] == [2, 2]
    assert [len(d) for d in await retriever.abatch([query] * 2, k=2)] == [2, 2]
    assert len(retriever.invoke(query)) == 1


async def test_async_is_sync(ensemble):
    assert await ensemble.ainvoke(QUERY) == ensemble.invoke(QUERY)


async def test_batch_is_invoke_for_each(ensemble):
    expected = [ensemble.invoke(query) for query in QUERIES]
    assert ensemble.batch(QUERIES) == expected
    assert await ensemble.abatch(QUERIES) == expected
    assert ensemble.batch([]) == await ensemble.abatch([]) == []


async def test_batch_keeps_each_error_to_its_query(ensemble):
    queries = [QUERY, " "]
    for found in (
        ensemble.batch(queries, return_exceptions=True),
        await ensemble.abatch(queries, return_exceptions=True),
    ):
        assert found[0] == ensemble.invoke(QUERY)
        assert isinstance(found[1], InputError)
    with pytest.raises(InputError, match="empty"):
        ensemble.batch(queries)


class Seen(BaseCallbackHandler):
    def __init__(self):
        self.events = []

    def on_retriever_start(self, serialized, query, **kwargs):
        self.events.append(("start", query))

    def on_retriever_end(self, documents, **kwargs):
        self.events.append(("end", len(documents)))

    def on_retriever_error(self, error, **kwargs):
        self.events.append(("error", type(error)))


async def test_callbacks_see_every_query(ensemble):
    for run in (
        lambda config: ensemble.batch(QUERIES, config),
        lambda config: asyncio.run(ensemble.abatch(QUERIES, config)),
    ):
        seen = Seen()
        await asyncio.to_thread(run, {"callbacks": [seen]})
        assert sorted(seen.events) == sorted(
            [("start", query) for query in QUERIES] + [("end", 3)] * 3
        )


def test_callbacks_see_an_error(ensemble):
    seen = Seen()
    with pytest.raises(InputError):
        ensemble.invoke("", {"callbacks": [seen]})
    assert seen.events == [("start", ""), ("error", InputError)]


async def test_a_batch_is_one_pass(fresh):
    retriever = M3EnsembleRetriever.from_documents(DOCUMENTS, model=fresh)
    for run in (retriever.batch, lambda q: asyncio.run(retriever.abatch(q))):
        passes, encoded = fresh.passes, fresh.encoded
        queries = [f"{query} {encoded}" for query in QUERIES]
        await asyncio.to_thread(run, queries)
        assert fresh.passes - passes == 1
        assert fresh.encoded - encoded == len(QUERIES)


def test_a_batch_through_a_chain_is_one_pass(fresh):
    retriever = M3EnsembleRetriever.from_documents(DOCUMENTS, model=fresh)
    passes = fresh.passes
    found = (retriever | _joined).batch(QUERIES)
    assert "Ferns like shade" in found[0]
    assert fresh.passes - passes == 1


def test_sparse_and_ensemble_may_share_a_folder(tiny, tmp_path):
    path = tmp_path / "kb"
    with M3EnsembleRetriever.from_texts(["a fern"], model=tiny, path=path).index:
        pass
    with M3SparseRetriever.from_texts(["a pump"], model=tiny, path=path).index as index:
        assert len(index) == 2


def test_one_pass_a_text_and_a_query(fresh):
    retriever = M3EnsembleRetriever.from_documents(DOCUMENTS, model=fresh)
    assert fresh.encoded == len(DOCUMENTS)
    retriever.invoke(QUERY)
    assert fresh.encoded == len(DOCUMENTS) + 1


async def test_the_event_loop_stays_free(fresh, monkeypatch):
    retriever = M3EnsembleRetriever.from_documents(DOCUMENTS, model=fresh)
    passes_need_the_loop(fresh, monkeypatch)
    assert all(await asyncio.gather(*(retriever.ainvoke(f"{QUERY} {i}") for i in range(5))))


async def test_single_calls_at_the_same_time_share_passes(fresh):
    """Twenty single calls on the event loop: what waits together is encoded together."""
    retriever = M3EnsembleRetriever.from_documents(DOCUMENTS, model=fresh)
    passes = fresh.passes
    found = await asyncio.gather(*(retriever.ainvoke(f"{QUERY} {i}") for i in range(20)))
    assert all(len(documents) == 4 for documents in found)
    assert fresh.passes - passes < 10


def test_threads(ensemble):
    queries = [f"{query} {'and soil ' * (i % 7)}" for i in range(10) for query in QUERIES]
    expected = [ensemble.invoke(query) for query in queries]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ensemble.invoke, queries))
    assert [ids(documents) for documents in found] == [ids(documents) for documents in expected]


async def test_in_a_chain(ensemble):
    prompt = ChatPromptTemplate.from_template("{context}\n\n{question}")
    said = []

    def answer(value):
        said.append(value.to_string())
        return AIMessage("In the shade.")

    chain = (
        {"context": ensemble | _joined, "question": RunnablePassthrough()}
        | prompt
        | answer
        | StrOutputParser()
    )
    assert chain.invoke(QUERY) == "In the shade."
    assert await chain.ainvoke(QUERY) == "In the shade."
    assert chain.batch([QUERY, QUERY]) == ["In the shade."] * 2
    assert all("Ferns like shade" in text and text.endswith(QUERY) for text in said)


async def test_in_a_chain_with_a_chat_model_that_streams(ensemble):
    prompt = ChatPromptTemplate.from_template("{context}\n\n{question}")
    model = GenericFakeChatModel(messages=iter([AIMessage("In the shade.")]))
    chain = {"context": ensemble | _joined, "question": RunnablePassthrough()} | prompt | model
    parts = [part.content async for part in chain.astream(QUERY)]
    assert "".join(parts) == "In the shade."
    assert len(parts) > 1


def _joined(documents):
    return "\n".join(document.page_content for document in documents)


async def test_as_a_tool(ensemble):
    tool = create_retriever_tool(
        ensemble, "plants", "Knows plants.", response_format="content_and_artifact"
    )
    call = {"name": "plants", "args": {"query": QUERY}, "id": "1", "type": "tool_call"}
    message = tool.invoke(call)
    assert "Ferns like shade" in message.content
    assert ids(message.artifact) == ids(ensemble.invoke(QUERY))
    assert (await tool.ainvoke(call)).content == message.content


def test_repr_does_not_hold_the_documents(ensemble):
    assert "Ferns" not in repr(ensemble)
    assert len(repr(ensemble)) < 300
