"""Filters as LlamaIndex passes them: every operator, nested keys, dates, AutoRetriever."""

import datetime
import json
import uuid
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.indices.vector_store.retrievers import VectorIndexAutoRetriever
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import MetadataFilters, MetadataInfo, VectorStoreInfo

from m3rag import M3Index
from m3rag.errors import InputError
from m3rag.llama_index import M3EnsembleRetriever, M3VectorStore
from tests.llama_index.conftest import MODES, SpecLLM, make_query, where


class Kind(Enum):
    PLANT = "plant"


TODAY = datetime.datetime(2026, 3, 1, 10, 30, tzinfo=datetime.UTC)
VALUES = {
    "when": TODAY,
    "day": datetime.date(2026, 3, 1),
    "key": uuid.UUID(int=7),
    "path": Path("notes/ferns.txt"),
    "kind": Kind.PLANT,
    "ratio": np.float32(0.5),
    "n": np.int64(3),
}
METADATA = {
    "a": {
        "author": {"name": "Ann", "age": 30},
        "title": "Ferns at home",
        "tags": [],
        "note": None,
        "date": "2024-01-05",
        "public": True,
        "weird.key": 1,
        "id": "inner",
        "zh": "植物需要水",
        **VALUES,
    },
    "b": {
        "author": {"name": "Bob"},
        "title": "Cacti outside",
        "tags": ["x", "y"],
        "date": "2024-03-05T12:00:00",
        "public": False,
        "n": 5,
    },
}


@pytest.fixture(scope="module", params=["memory", "folder"])
def store(request, tmp_path_factory, tiny):
    path = None if request.param == "memory" else tmp_path_factory.mktemp("filters") / "kb"
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="garden.md")}
    with M3VectorStore(M3Index.open(path, model=tiny)) as store:
        store.add(
            [
                TextNode(
                    id_=name,
                    text="Plants like water.",
                    metadata=metadata,
                    relationships=source if name == "a" else {},
                )
                for name, metadata in METADATA.items()
            ]
        )
        yield store


CASES = [
    (where("author.name", "Ann"), "a"),
    (where("author.age", 29, ">"), "a"),
    (where("author.name", "Ann", "!="), "b"),
    (where("weird.key", 1), "a"),
    (where("tags", None, "is_empty"), "a"),
    (where("note", None, "is_empty"), "ab"),
    (where("nowhere", None, "is_empty"), "ab"),
    (where("title", None, "is_empty"), ""),
    (where("note", None), "ab"),
    (where("title", None, "!="), "ab"),
    (where("title", "home", "text_match"), "a"),
    (where("title", "HOME", "text_match_insensitive"), "a"),
    (where("title", "hom", "text_match"), ""),
    (where("title", "at home", "text_match"), "a"),
    (where("title", "home at", "text_match"), ""),
    (where("title", [], "in"), ""),
    (where("title", [], "nin"), "ab"),
    (where("title", ["Cacti outside", "Other"], "in"), "b"),
    (where("tags", ["x", "z"], "any"), "b"),
    (where("tags", ["x", "y"], "all"), "b"),
    (where("tags", "x", "contains"), "b"),
    (where("date", "2024-02-01", ">"), "b"),
    (where("date", "2024-03-05", "<="), "ab"),
    (where("date", "2024-03-05T12:00:01", ">="), ""),
    (where("public", 1), "a"),
    (where("public", 0), "b"),
    (where("public", 1, "!="), "b"),
    (where("public", [1, 0], "in"), "ab"),
    (where("n", 3), "a"),
    (where("id", "inner"), "a"),
    (where("id", "b"), "b"),
    (where("document_id", "garden.md"), "a"),
    (where("doc_id", "garden.md"), "a"),
    (where("ref_doc_id", ["garden.md"], "in"), "a"),
    (where("ref_doc_id", "garden.md", "!="), "b"),
    (where("when", "2026-03-01", ">="), "a"),
    (where("when", "2026-03-01T10:30:00+00:00"), "a"),
    (where("day", "2026-03-01"), "a"),
    (where("key", str(uuid.UUID(int=7))), "a"),
    (where("path", "notes/ferns.txt"), "a"),
    (where("kind", "plant"), "a"),
    (where("ratio", 0.5), "a"),
]


@pytest.mark.parametrize(("filters", "expected"), CASES, ids=lambda value: str(value)[:60])
def test_every_operator(store, filters, expected):
    assert set(store.query(make_query("plants", k=5, filters=filters)).ids) == set(expected)
    assert {node.node_id for node in store.get_nodes(filters=filters)} == set(expected)
    assert store.count(filters) == len(expected)


@pytest.mark.parametrize("mode", MODES)
def test_nested_filters_in_every_mode(store, mode):
    inner = MetadataFilters(
        filters=[where("author.name", "Bob"), where("title", "home", "text_match")], condition="or"
    )
    filters = MetadataFilters(filters=[inner, where("tags", None, "is_empty")])
    assert store.query(make_query("Plants like", mode, 5, filters=filters)).ids == ["a"]


def test_a_node_whose_metadata_has_an_id_is_no_node_with_this_id(store):
    assert store.get_nodes(["inner"]) == []
    assert store.query(make_query("plants", k=5, node_ids=["inner"])).ids == []
    assert M3EnsembleRetriever(store, node_ids=["inner"]).retrieve("plants") == []


def test_values_come_back_in_their_json_form(store):
    (node,) = store.get_nodes(["a"])
    assert json.loads(json.dumps(node.metadata)) == node.metadata
    assert {key: node.metadata[key] for key in VALUES} == {
        "when": "2026-03-01T10:30:00+00:00",
        "day": "2026-03-01",
        "key": str(uuid.UUID(int=7)),
        "path": "notes/ferns.txt",
        "kind": "plant",
        "ratio": 0.5,
        "n": 3,
    }


def test_a_range_of_another_kind(store):
    with pytest.raises(InputError, match="bounds must be numbers, or dates"):
        store.get_nodes(filters=where("title", "x", ">"))


def test_retrievers_of_documents_and_nodes(store):
    def found(**settings):
        retriever = M3EnsembleRetriever(store, **settings)
        return [one.node_id for one in retriever.retrieve("plants")]

    assert found(doc_ids=["garden.md"]) == ["a"]
    assert found(node_ids=["b", "nowhere"]) == ["b"]
    assert found(node_ids=["b"], doc_ids=["garden.md"]) == []
    assert found(node_ids=["a", "b"], filters=where("author.name", "Bob")) == ["b"]


@pytest.mark.parametrize(
    ("key", "value", "operator", "expected"),
    [
        ("author.name", "Ann", "==", ["a"]),
        ("date", "2024-02-01", ">", ["b"]),
        ("title", "outside", "text_match", ["b"]),
        ("tags", ["x"], "any", ["b"]),
    ],
)
def test_an_auto_retriever(store, key, value, operator, expected):
    spec = {"query": "plants", "filters": [{"key": key, "value": value, "operator": operator}]}
    info = MetadataInfo(name=key, type="str", description="A key.")
    retriever = VectorIndexAutoRetriever(
        VectorStoreIndex.from_vector_store(store, embed_model=store.embed_model),
        vector_store_info=VectorStoreInfo(content_info="Plants.", metadata_info=[info]),
        llm=SpecLLM(answer=f"```json\n{json.dumps(spec)}\n```"),
    )
    assert [found.node_id for found in retriever.retrieve("What do plants like?")] == expected
