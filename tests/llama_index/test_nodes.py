"""Nodes as passages, passages as nodes, and nodes with scores."""

import json

import pytest
from llama_index.core.schema import (
    Document,
    ImageNode,
    IndexNode,
    MetadataMode,
    NodeRelationship,
    NodeWithScore,
    RelatedNodeInfo,
    TextNode,
)

from m3rag import Hit, M3Index, Passage
from m3rag.errors import InputError
from m3rag.llama_index.nodes import node_of, passage_of, scored

SOURCE = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="plants.md", metadata={"a": 1})}
KINDS = [
    TextNode(id_="a", text="Ferns like shade."),
    TextNode(id_="a", text=""),
    TextNode(
        id_="a",
        text="Ferns",
        metadata={"lang": "en", "year": 2019, "tags": ["x"], "ok": True, "none": None},
        excluded_embed_metadata_keys=["lang", "year", "tags", "ok", "none"],
        excluded_llm_metadata_keys=["tags"],
        start_char_idx=10,
        end_char_idx=15,
        text_template="{content}",
        relationships={**SOURCE, NodeRelationship.NEXT: RelatedNodeInfo(node_id="b")},
    ),
    TextNode(id_="a", text="Ferns", metadata={"title": "embedded"}, start_char_idx=3),
    IndexNode(id_="a", text="all about ferns", index_id="engine"),
    ImageNode(id_="a", text="a fern", image="aGVsbG8=", relationships=SOURCE),
    Document(id_="a", text="A whole document.", metadata={"lang": "en"}),
]


@pytest.fixture(params=["memory", "folder"])
def index(request, tmp_path, tiny):
    path = None if request.param == "memory" else tmp_path / "kb"
    with M3Index.open(path, model=tiny) as index:
        yield index


@pytest.mark.parametrize("node", KINDS, ids=lambda node: node.class_name())
def test_a_node_is_restored(index, node):
    before = node.model_copy(deep=True)
    index.add([passage_of(node)])
    (passage,) = index.get(["a"])
    back = node_of(passage)
    assert type(back) is type(node)
    assert back == node == before
    assert back.hash == node.hash


def test_an_embedding_is_not_stored():
    node = TextNode(id_="a", text="Ferns", embedding=[1.0, 2.0])
    assert node_of(passage_of(node)).embedding is None
    assert node.embedding == [1.0, 2.0]


def test_the_fields_of_the_passage():
    passage = passage_of(
        TextNode(
            id_="a",
            text="Ferns",
            metadata={"headings": ["Plants", "Shade"]},
            excluded_embed_metadata_keys=["headings"],
            start_char_idx=3,
            end_char_idx=8,
            relationships=SOURCE,
        )
    )
    assert (passage.text, passage.document_id) == ("Ferns", "plants.md")
    assert (passage.start, passage.end) == (3, 8)
    assert passage.headings == ("Plants", "Shade")


def test_the_passage_has_the_text_that_llama_index_embeds():
    node = TextNode(
        text="Ferns like shade.",
        metadata={"title": "Ferns", "path": "/home"},
        excluded_embed_metadata_keys=["path"],
    )
    assert passage_of(node).text == node.get_content(MetadataMode.EMBED)
    assert passage_of(node).text == "title: Ferns\n\nFerns like shade."
    assert (passage_of(node).start, passage_of(node).end) == (None, None)


def test_the_node_of_a_passage_from_elsewhere():
    passage = Passage("p", "Ferns", {"lang": "en"}, "plants.md", 3, 8, ("Plants", "Shade"))
    node = node_of(passage)
    assert (node.node_id, node.text, node.ref_doc_id) == ("p", "Ferns", "plants.md")
    assert node.metadata == {"lang": "en", "headings": ["Plants", "Shade"]}
    assert (node.start_char_idx, node.end_char_idx) == (3, 8)
    assert node.get_content(MetadataMode.EMBED) == "Ferns"


def test_the_reserved_metadata_key_is_refused():
    with pytest.raises(InputError, match="Node 'a' has the metadata key '_node'"):
        passage_of(TextNode(id_="a", text="x", metadata={"_node": 1}))


def test_metadata_that_are_not_json_are_refused(index):
    with pytest.raises(InputError, match="Passage 'a' cannot be stored"):
        index.add([passage_of(TextNode(id_="a", text="x", metadata={"when": {1, 2}}))])


def test_scores_are_not_in_the_node():
    node = TextNode(id_="a", text="Ferns", metadata={"lang": "en"})
    found = scored(Hit(0.5, passage_of(node), dense=0.25, colbert=0.75))
    assert isinstance(found, NodeWithScore)
    assert (found.score, found.scores) == (0.5, {"dense": 0.25, "colbert": 0.75})
    assert found.metadata == {"lang": "en"}
    assert found.node.hash == node.hash


def test_scores_survive_json():
    found = scored(Hit(0.5, passage_of(TextNode(id_="a", text="Ferns")), dense=0.25))
    saved = json.loads(found.model_dump_json())
    assert saved["scores"] == {"dense": 0.25}
    assert saved["node"]["text"] == "Ferns"
