"""A small corpus in four languages, stores of it, and a listener for LlamaIndex's events."""

from typing import Any

import pytest
from llama_index.core.bridge.pydantic import Field
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.llms import ChatMessage, CompletionResponse, CustomLLM, LLMMetadata
from llama_index.core.memory import InsertMethod, Memory
from llama_index.core.node_parser import HierarchicalNodeParser
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from m3rag import M3Index
from m3rag.llama_index import M3EnsembleRetriever, M3MemoryBlock, M3VectorStore

TEXTS = {
    "shade": ("Ferns like shade and moist soil.", "en", 2019, "plants.md"),
    "sombra": ("Los helechos prefieren la sombra y el suelo húmedo.", "es", 2021, "plantas.md"),
    "cactus": ("A cactus needs sun and very little water.", "en", 2021, "plants.md"),
    "water": ("Water the plants in the morning when the soil is dry.", "en", 2020, "plants.md"),
    "植物": ("植物需要水和阳光。", "zh", 2022, "zh.md"),
    "sensor": (
        "A soil moisture sensor measures how much water the soil holds.",
        "en",
        2023,
        "iot.md",
    ),
    "hub": ("The IoT hub in the cloud receives messages from the device.", "en", 2023, "iot.md"),
    "boden": ("Der Sensor misst die Feuchtigkeit im Boden.", "de", 2023, "de.md"),
}
QUERIES = ["soil moisture sensor", "Who likes shade?", "¿Qué prefieren los helechos?", "水"]
MODES = ["default", "sparse", "text_search", "hybrid", "mmr"]
IDS = set(TEXTS)
CAT = ChatMessage("Meine Katze heißt Mia und mag Thunfisch.")
BERN = ChatMessage("Ich wohne in Bern.")
ANSWER = ChatMessage("Bern is a fine city.", role="assistant")
QUESTION = [ChatMessage("What is the name of my cat?")]  # in another language


def hierarchy(documents, sizes):
    """Return the nodes of documents and their parents, from the parser of LlamaIndex."""
    try:
        parser = HierarchicalNodeParser.from_defaults(chunk_sizes=sizes, chunk_overlap=0)
        return parser.get_nodes_from_documents(documents)
    except LookupError:
        pytest.skip("This version of llama-index-core downloads data for its sentence splitter.")


def make_nodes(**changes):
    """Return new nodes of the corpus; their metadata are not embedded."""
    return [
        TextNode(
            id_=name,
            text=text,
            metadata={"lang": lang, "year": year, "tags": [lang, "demo"]},
            excluded_embed_metadata_keys=["lang", "year", "tags"],
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=source)},
            **changes,
        )
        for name, (text, lang, year, source) in TEXTS.items()
    ]


@pytest.fixture(scope="module")
def ensemble(tiny):
    return M3EnsembleRetriever.from_nodes(make_nodes(), model=tiny)


@pytest.fixture
def nodes():
    return make_nodes()


def ids(found):
    return [one.node_id for one in found]


class Listener(BaseEventHandler):
    """Collects events."""

    events: list[Any] = Field(default_factory=list)

    @classmethod
    def class_name(cls):
        return "Listener"

    def handle(self, event, **kwargs):
        self.events.append(event)

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def listener():
    root = get_dispatcher()
    listener = Listener()
    root.add_event_handler(listener)
    yield listener
    root.event_handlers.remove(listener)


def open_store(request, tmp_path, model):
    path = None if request.param == "memory" else tmp_path / "kb"
    return M3VectorStore(M3Index.open(path, model=model))


@pytest.fixture(scope="module", params=["memory", "folder"])
def shared(request, tmp_path_factory, tiny):
    """A store that tests only read."""
    store = open_store(request, tmp_path_factory.mktemp("store"), tiny)
    store.add(make_nodes())
    yield store
    assert len(store.index) == len(TEXTS)
    store.index.close()


@pytest.fixture(params=["memory", "folder"])
def own(request, tmp_path, tiny):
    """A store that a test may change."""
    store = open_store(request, tmp_path, tiny)
    store.add(make_nodes())
    yield store
    store.index.close()


def make_query(text="soil moisture sensor", mode="default", k=3, **settings):
    return VectorStoreQuery(
        query_str=text, mode=VectorStoreQueryMode(mode), similarity_top_k=k, **settings
    )


def where(key, value, operator="==", condition="and"):
    part = MetadataFilter(key=key, value=value, operator=FilterOperator(operator))
    return MetadataFilters(filters=[part], condition=condition)


class SpecLLM(CustomLLM):
    """Answers the auto retriever's question with a fixed query."""

    answer: str

    @property
    def metadata(self):
        return LLMMetadata()

    def complete(self, prompt, formatted=False, **kwargs):
        return CompletionResponse(text=self.answer)

    def stream_complete(self, prompt, formatted=False, **kwargs):
        yield self.complete(prompt)


@pytest.fixture
async def memory(tiny):
    """A short-term memory of a few messages, before a long-term memory."""
    memory = Memory.from_defaults(
        session_id="monday",
        token_limit=60,
        token_flush_size=10,
        chat_history_token_ratio=0.5,
        tokenizer_fn=str.split,
        insert_method=InsertMethod.SYSTEM,
        memory_blocks=[M3MemoryBlock(model=tiny, owner="ann", similarity_top_k=1)],
    )
    yield memory
    await memory.sql_store._async_engine.dispose()


async def fill(memory):
    for number in range(6):
        await memory.aput_messages([CAT, ANSWER] if number == 0 else [BERN, ANSWER])
