"""The node parser: limits, spans, headings, metadata and ids."""

import json
import uuid
from multiprocessing.reduction import ForkingPickler  # sends components to worker processes

import pytest
from llama_index.core.node_parser import NodeParser, TextSplitter
from llama_index.core.schema import Document, MetadataMode, NodeRelationship, TextNode

from m3rag.errors import InputError
from m3rag.llama_index import M3NodeParser
from tests.conftest import needing_the_loop

TEXT = (
    "# Plants\n\nAll about plants.\n\n## Ferns\n\n"
    + "Ferns like shade. They need water. " * 20
    + "\n\n## Cacti\n\nCacti like sun.\n\n"
    + "植物需要水和阳光。土壤湿度传感器可以测量。" * 20
)


@pytest.fixture
def document():
    return Document(text=TEXT, id_="plants.md", metadata={"lang": "en", "path": "/a/b.md"})


@pytest.fixture
def parser(tiny):
    return M3NodeParser(model=tiny, max_tokens=64, overlap=16)


def test_it_is_a_node_parser():
    assert issubclass(M3NodeParser, NodeParser)
    assert M3NodeParser.class_name() == "M3NodeParser"


@pytest.mark.parametrize("limit", [16, 33, 64, 512])
def test_no_node_has_too_many_tokens(tiny, document, limit):
    nodes = M3NodeParser(model=tiny, max_tokens=limit, overlap=0)([document])
    counts = tiny.encode([node.get_content(MetadataMode.EMBED) for node in nodes]).n_tokens
    assert counts.max() <= limit
    assert counts.max() > limit * 0.6 or len(nodes) == 1


def test_each_node_is_its_span_of_the_document(parser, document):
    nodes = parser([document])
    assert len(nodes) > 5
    for node in nodes:
        assert TEXT[node.start_char_idx : node.end_char_idx] == node.text
    starts = [node.start_char_idx for node in nodes]
    assert starts == sorted(set(starts))


def test_spans_count_carriage_returns_too(parser):
    text = TEXT.replace("\n", "\r\n")
    for node in parser([Document(text=text)]):
        assert text[node.start_char_idx : node.end_char_idx] == node.text


def test_repeated_texts_have_distinct_spans(tiny):
    text = "Water the plants. " * 60
    nodes = M3NodeParser(model=tiny, max_tokens=32, overlap=0)([Document(text=text)])
    ends = [0, *(node.end_char_idx for node in nodes)]
    for node, end in zip(nodes, ends, strict=False):
        assert text[end : node.start_char_idx].strip() == ""


def test_headings_are_the_titles_above(parser, document):
    paths = {tuple(node.metadata.get("headings", ())) for node in parser([document])}
    assert ("Plants", "Ferns") in paths
    assert ("Plants", "Cacti") in paths


def test_without_markdown_headings(tiny, document):
    nodes = M3NodeParser(model=tiny, max_tokens=64, markdown=False)([document])
    assert all("headings" not in node.metadata for node in nodes)


def test_metadata_are_kept_and_not_embedded(parser, document):
    for node in parser([document]):
        assert node.metadata["lang"] == "en"
        assert node.get_content(MetadataMode.EMBED) == node.text
        assert "lang: en" in node.get_content(MetadataMode.LLM)


def test_metadata_are_embedded_on_request(tiny, document):
    (node, *_) = M3NodeParser(model=tiny, embed_metadata=True)([document])
    assert node.get_content(MetadataMode.EMBED).startswith("headings: ")


def test_documents_are_not_changed(parser, document):
    before = document.model_copy(deep=True)
    parser([document])
    assert document == before


def test_nodes_refer_to_their_document_and_neighbours(parser, document):
    nodes = parser([document])
    assert {node.ref_doc_id for node in nodes} == {"plants.md"}
    assert nodes[0].next_node.node_id == nodes[1].node_id
    assert nodes[1].prev_node.node_id == nodes[0].node_id
    assert NodeRelationship.NEXT not in nodes[-1].relationships


def test_ids_are_uuids_derived_from_the_document(parser, document):
    ids = [node.node_id for node in parser([document])]
    assert ids == [node.node_id for node in parser([document])]
    assert len({uuid.UUID(i) for i in ids}) == len(ids)
    other = Document(text=TEXT, id_="other.md")
    assert not {node.node_id for node in parser([other])} & set(ids)


def test_ids_from_a_custom_function(tiny, document):
    parser = M3NodeParser(model=tiny, id_func=lambda i, doc: f"{doc.node_id}#{i}")
    assert parser([document])[0].node_id == "plants.md#0"


def test_spans_of_a_node_that_is_split_again(parser):
    whole = "Some front matter. " + TEXT
    part = TextNode(
        text=TEXT,
        start_char_idx=19,
        relationships={
            NodeRelationship.SOURCE: Document(id_="d", text=whole).as_related_node_info()
        },
    )
    for node in parser([part]):
        assert node.ref_doc_id == "d"
        assert whole[node.start_char_idx : node.end_char_idx] == node.text


async def test_async_equals_sync(parser, document):
    assert await parser.acall([document]) == parser([document])


async def test_splitting_does_not_block_the_event_loop(parser, document, monkeypatch):
    monkeypatch.setattr(M3NodeParser, "_split", needing_the_loop(M3NodeParser._split))
    assert await parser.acall([document])


def test_an_empty_document_has_no_nodes(parser):
    assert parser([Document(text="")]) == []


def test_fields_restore_the_component(parser, document):
    saved = json.loads(json.dumps(parser.model_dump(exclude={"id_func"})))
    assert M3NodeParser(**saved)([document]) == parser([document])


def test_pickling_stores_the_fields_and_not_the_model(parser, document):
    state = ForkingPickler.dumps(parser)
    assert len(state) < 5_000
    assert ForkingPickler.loads(state)([document]) == parser([document])


def test_splitting_loads_no_weights(monkeypatch, document):
    monkeypatch.setattr("m3rag.model.shared.shared_model", None)
    assert M3NodeParser(model="tiny")([document])


def test_limits_out_of_range_are_errors(tiny, document):
    with pytest.raises(InputError, match=r"`max_tokens`: input should be greater than .* 16"):
        M3NodeParser(model=tiny, max_tokens=3)
    with pytest.raises(InputError, match="overlap=40 must be"):
        M3NodeParser(model=tiny, max_tokens=64, overlap=40)([document])


def test_it_is_a_text_splitter_of_llama_index(tiny, document):
    parser = M3NodeParser.from_defaults(model=tiny, max_tokens=64, overlap=0)
    assert isinstance(parser, TextSplitter)
    assert parser.split_text(document.text) == [node.text for node in parser([document])]
    assert parser.split_texts([document.text, "Moss."])[-1] == "Moss."
    assert parser.max_tokens == 64


def test_the_model_says_how_long_passages_are(tiny, monkeypatch):
    text = "Ferns like shade. " * 400
    expected = M3NodeParser(model=tiny, max_tokens=tiny.passage_tokens).split_text(text)
    assert M3NodeParser(model=tiny).split_text(text) == expected
    monkeypatch.setattr("m3rag.model.shared.shared_model", None)  # loads no weights
    assert M3NodeParser(model="tiny").split_text(text) == expected
