"""The retrieval tool, in the agents of LlamaIndex."""

import asyncio

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.workflow import StartEvent, StopEvent, Workflow, step

from m3rag.errors import ArgumentError, InputError
from m3rag.llama_index import M3EnsembleRetriever, M3VectorStore, retrieval_tool
from tests.conftest import passes_need_the_loop
from tests.llama_index.conftest import make_nodes

QUERY = "soil moisture sensor"


@pytest.fixture(scope="module")
def store(tiny):
    return M3VectorStore.from_nodes(make_nodes(), model=tiny)


def test_the_model_reads_numbers_and_places(store):
    output = retrieval_tool(M3EnsembleRetriever(store, similarity_top_k=2)).call(QUERY)
    first, second = output.content.split("\n\n")
    assert first.startswith("[1] iot.md\nA soil moisture sensor")
    assert second.startswith("[2] ")
    assert output.raw_input == {"input": QUERY}


def test_the_program_gets_nodes_with_scores(store):
    output = retrieval_tool(store)(QUERY)
    assert output.raw_output == M3EnsembleRetriever(store).retrieve(QUERY)
    assert set(output.raw_output[0].scores) == {"dense", "sparse", "colbert"}


def test_its_description_for_the_model(store):
    tool = retrieval_tool(store, name="plants", description="Search the plants.")
    shown = tool.metadata.to_openai_tool()["function"]
    assert (shown["name"], shown["description"]) == ("plants", "Search the plants.")
    assert list(shown["parameters"]["properties"]) == ["input"]


@pytest.mark.parametrize("query", ["", "   "])
async def test_an_empty_query(store, query):
    for output in (retrieval_tool(store).call(query), await retrieval_tool(store).acall(query)):
        assert output.content.startswith("No passage was found.")
        assert output.raw_output == []


async def test_a_vector_store_index(store):
    index = VectorStoreIndex.from_vector_store(store, embed_model=store.embed_model)
    output = await retrieval_tool(index).acall(QUERY)
    assert output.raw_output[0].node_id == "sensor"


async def test_it_does_not_block_the_event_loop(fresh, monkeypatch):
    tool = retrieval_tool(M3VectorStore.from_nodes(make_nodes(), model=fresh))
    passes_need_the_loop(fresh, monkeypatch)
    assert (await tool.acall(QUERY)).raw_output


def test_arguments(store):
    with pytest.raises(ArgumentError, match="Did you mean `description`"):
        retrieval_tool(store, descripton="x")
    with pytest.raises(InputError, match="`retriever` must be a retriever or a store"):
        retrieval_tool("kb")


class Pipeline(Workflow):
    """Searches for several queries at the same time."""

    @step
    async def search(self, event: StartEvent) -> StopEvent:
        outputs = await asyncio.gather(*(event.tool.acall(query) for query in event.queries))
        return StopEvent(result=[output.raw_output[0].node_id for output in outputs])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_workflow(fresh, monkeypatch):
    tool = retrieval_tool(M3VectorStore.from_nodes(make_nodes(), model=fresh))
    passes_need_the_loop(fresh, monkeypatch)
    assert await Pipeline().run(tool=tool, queries=[QUERY, "A cactus needs sun"]) == [
        "sensor",
        "cactus",
    ]
