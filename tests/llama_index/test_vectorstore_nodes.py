"""Nodes in the vector store: add, get, filter and delete."""

import pytest
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import MetadataFilters

from m3rag.errors import InputError
from m3rag.llama_index import M3VectorStore
from tests.llama_index.conftest import IDS, MODES, TEXTS, make_nodes, make_query, where

FILTERS = [
    (where("lang", "es"), {"sombra"}),
    (where("lang", "en", "!="), {"sombra", "植物", "boden"}),
    (where("year", 2023), {"sensor", "hub", "boden"}),
    (where("year", 2022, ">"), {"sensor", "hub", "boden"}),
    (where("year", 2022, ">="), {"植物", "sensor", "hub", "boden"}),
    (where("year", 2020, "<"), {"shade"}),
    (where("year", 2020, "<="), {"shade", "water"}),
    (where("lang", ["es", "zh"], "in"), {"sombra", "植物"}),
    (where("lang", ["en", "de"], "nin"), {"sombra", "植物"}),
    (where("tags", "es", "contains"), {"sombra"}),
    (where("tags", ["es", "zh"], "any"), {"sombra", "植物"}),
    (where("tags", ["es", "demo"], "all"), {"sombra"}),
    (where("nowhere", 1), set()),
    (where("nowhere", 1, "!="), IDS),
    (where("document_id", "iot.md"), {"sensor", "hub"}),
    (MetadataFilters(filters=[]), IDS),
    (
        MetadataFilters(
            filters=[*where("lang", "es").filters, *where("year", 2019).filters], condition="or"
        ),
        {"sombra", "shade"},
    ),
    (
        MetadataFilters(
            filters=[*where("lang", "en").filters, *where("year", 2023).filters], condition="and"
        ),
        {"sensor", "hub"},
    ),
    (
        MetadataFilters(
            filters=[*where("lang", "en").filters, *where("lang", "es").filters], condition="not"
        ),
        {"植物", "boden"},
    ),
    (
        MetadataFilters(
            filters=[
                where("lang", "en", condition="not"),
                MetadataFilters(filters=[where("year", 2021), where("year", 2022)], condition="or"),
            ]
        ),
        {"sombra", "植物"},
    ),
]


@pytest.mark.parametrize(("filters", "expected"), FILTERS)
def test_filters(shared, filters, expected):
    assert set(shared.query(make_query(k=8, filters=filters)).ids) == expected
    assert {node.node_id for node in shared.get_nodes(filters=filters)} == expected


@pytest.mark.parametrize("mode", MODES)
def test_filters_in_every_mode(shared, mode):
    result = shared.query(make_query("the soil", mode, 8, filters=where("lang", "en")))
    assert result.ids
    assert {node.metadata["lang"] for node in result.nodes} == {"en"}


def test_a_list_operator_needs_a_list(shared):
    with pytest.raises(InputError, match="takes a list of values, got 'en'"):
        shared.query(make_query(filters=where("lang", "en", "in")))


def test_a_range_needs_numbers(shared):
    with pytest.raises(InputError, match=r"bounds must be numbers.*, got 'en'"):
        shared.query(make_query(filters=where("lang", "en", ">")))


def test_queries_for_given_documents_and_nodes(shared):
    assert set(shared.query(make_query(k=8, doc_ids=["iot.md", "zh.md"])).ids) == {
        "sensor",
        "hub",
        "植物",
    }
    assert set(shared.query(make_query(k=8, node_ids=["hub", "shade", "no"])).ids) == {
        "hub",
        "shade",
    }


def test_get_nodes_keeps_the_order_of_the_ids(shared):
    assert [n.node_id for n in shared.get_nodes(["hub", "no", "shade"])] == ["hub", "shade"]
    assert {n.node_id for n in shared.get_nodes()} == IDS
    assert shared.get_nodes([]) == []
    assert [n.node_id for n in shared.get_nodes(["hub", "shade"], where("year", 2019))] == ["shade"]


def test_add_returns_the_ids_and_does_not_change_nodes(own, nodes):
    assert own.add(nodes) == list(TEXTS)
    assert nodes == make_nodes()


def test_a_node_replaces_one_with_the_same_id(own):
    own.add([TextNode(id_="hub", text="Nothing about clouds.")])
    assert len(own.index) == len(TEXTS)
    assert own.get_nodes(["hub"])[0].text == "Nothing about clouds."


def test_delete_removes_the_nodes_of_a_document(own):
    own.delete("iot.md")
    assert {n.node_id for n in own.get_nodes()} == IDS - {"sensor", "hub"}
    own.delete("nowhere.md")


def test_delete_nodes_by_ids_and_filters(own):
    own.delete_nodes(["hub", "no"])
    own.delete_nodes(filters=where("lang", "es"))
    own.delete_nodes(["shade", "water"], where("year", 2019))
    own.delete_nodes([])
    assert {n.node_id for n in own.get_nodes()} == IDS - {"hub", "sombra", "shade"}


def test_delete_nodes_without_ids_and_filters_is_an_error(own):
    with pytest.raises(InputError, match=r"clear\(\) deletes all nodes"):
        own.delete_nodes()


def test_clear_removes_all_nodes(own):
    own.clear()
    assert own.get_nodes() == []


async def test_asynchronous_changes(own, nodes):
    await own.adelete("iot.md")
    await own.adelete_nodes(["shade"], filters=where("lang", "en"))
    assert {n.node_id for n in await own.aget_nodes()} == IDS - {"sensor", "hub", "shade"}
    assert await own.async_add(nodes) == list(TEXTS)
    await own.aclear()
    assert await own.aget_nodes() == []


def test_metadata_change_without_encoding(fresh):
    own = M3VectorStore.from_nodes(make_nodes(), model=fresh)
    before = fresh.encoded
    assert own.update_metadata({"year": 1999, "seen": True}, ["hub", "no"]) == 1
    assert own.update_metadata({"seen": False}, filters=where("lang", "es")) == 1
    (hub,) = own.get_nodes(["hub"])
    assert (hub.metadata["year"], hub.metadata["seen"]) == (1999, True)
    assert hub.get_content("embed") == hub.text
    assert own.count(where("seen", 0)) == 1
    assert own.count(where("year", 1999)) == 1
    assert own.count(where("seen", None, "is_empty")) == len(TEXTS) - 2
    assert fresh.encoded == before
    assert own.query(make_query("IoT hub", k=1)).ids == ["hub"]


def test_metadata_that_were_encoded_do_not_change(own):
    own.add([TextNode(id_="new", text="Tulips bloom.", metadata={"title": "Tulips"})])
    with pytest.raises(InputError, match="Node 'new' was encoded with its metadata 'title'"):
        own.update_metadata({"title": "Roses"}, ["new"])
    with pytest.raises(InputError, match="needs ids or filters"):
        own.update_metadata({"a": 1})


def test_pages_of_nodes(shared):
    assert len(shared.get_nodes(limit=3)) == 3
    assert [n.node_id for n in shared.get_nodes(["hub", "shade", "water"], limit=1, offset=1)] == [
        "shade"
    ]
    with pytest.raises(InputError, match="`limit`"):
        shared.get_nodes(limit=-1)
