"""The reader, and sentences of any script for LlamaIndex's splitters."""

import pytest
from llama_index.core.node_parser import SentenceWindowNodeParser
from llama_index.core.postprocessor import MetadataReplacementPostProcessor
from llama_index.core.readers.base import BaseReader
from llama_index.core.schema import Document

from m3rag import read
from m3rag.documents import Fields
from m3rag.errors import ArgumentError, DocumentError, InputError
from m3rag.llama_index import (
    M3EnsembleRetriever,
    M3NodeParser,
    M3Reader,
    M3VectorStore,
    split_sentences,
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "ferns.md").write_text("# Ferns\n\n## Light\n\nFerns like shade.\n")
    (tmp_path / "sub" / "cacti.txt").write_text("Cacti like sun.\n")
    return tmp_path


@pytest.fixture
def parser(tiny):
    return M3NodeParser(model=tiny)


async def test_a_folder(folder):
    reader = M3Reader(folder)
    assert isinstance(reader, BaseReader)
    documents = reader.load_data()
    assert {d.id_: d.text for d in documents} == {
        name: read(folder / name).text for name in ("ferns.md", "sub/cacti.txt")
    }
    assert {d.id_ for d in await reader.aload_data()} == {d.id_ for d in documents}


def test_patterns_leave_out_files(folder):
    (folder / ".m3ragignore").write_text("draft*")
    (folder / "draft.md").write_text("Moss.")
    assert [d.id_ for d in M3Reader(folder, exclude=["sub/"]).load_data()] == ["ferns.md"]
    with pytest.raises(InputError, match="is no pattern"):
        M3Reader(folder, exclude=["!"])
    with pytest.raises(InputError, match="`exclude` is for folders"):
        M3Reader(folder / "ferns.md", exclude=["*.md"]).load_data()


def test_a_bar(folder, parser, capfd):
    reader = M3Reader(folder)
    assert reader.load_data(show_progress=True) == reader.load_data()
    assert len(reader.load_nodes(parser, show_progress=True)) == 2
    assert capfd.readouterr().err.count("Reading documents") >= 2


def test_records_and_old_encodings(tmp_path):
    (tmp_path / "plants.csv").write_text("name,light\nfern,shade\n")
    (tmp_path / "fern.txt").write_bytes("Папоротник любит тень.".encode("windows-1251"))
    fields = Fields(("light",))
    documents = M3Reader(tmp_path, fields=fields, encoding="windows-1251").load_data()
    texts = {document.id_: document.text for document in documents}
    assert texts["fern.txt"] == "Папоротник любит тень."
    assert "shade" in texts["plants.csv"]
    assert "fern" not in texts["plants.csv"]


async def test_passages_with_headings_and_spans(folder, parser):
    nodes = M3Reader(folder).load_nodes(parser)
    assert {n.node_id for n in await M3Reader(folder).aload_nodes(parser)} == {
        n.node_id for n in nodes
    }
    (fern,) = [node for node in nodes if node.ref_doc_id == "ferns.md"]
    text = read(folder / "ferns.md").text
    assert text[fern.start_char_idx : fern.end_char_idx] == fern.text
    assert fern.metadata["headings"] == ["Ferns"]


@pytest.mark.parametrize("name", ["roots.pdf", "trees.docx", "moss.html"])
def test_other_formats_keep_headings_and_pages(parser, name):
    path = f"tests/trials/corpus/{name}"
    nodes = M3Reader(path).load_nodes(parser)
    document = read(path)
    assert nodes
    for node in nodes:
        assert document.text[node.start_char_idx : node.end_char_idx] == node.text
        assert ("page" in node.metadata) == (name == "roots.pdf")


def test_a_changed_file_replaces_its_passages(folder, parser, tiny):
    store = M3VectorStore(model=tiny)
    store.add(M3Reader(folder).load_nodes(parser))
    (folder / "ferns.md").write_text("# Moss\n\nMoss likes rain.\n")
    store.add(M3Reader(folder).load_nodes(parser))
    assert {node.text for node in store.get_nodes()} == {
        "# Moss\n\nMoss likes rain.",
        "Cacti like sun.",
    }


def test_a_file_that_cannot_be_read(folder):
    (folder / "bad.pdf").write_bytes(b"no PDF")
    with pytest.raises(DocumentError, match=r"bad\.pdf"):
        M3Reader(folder).load_data()
    with pytest.warns(UserWarning, match=r"Left out: .*bad\.pdf"):
        assert len(M3Reader(folder, errors="warn").load_data()) == 2
    with pytest.raises(DocumentError, match="nowhere"):
        M3Reader(folder / "nowhere").load_data()


def test_arguments(folder):
    with pytest.raises(ArgumentError, match="M3Reader has no argument `input_dir`"):
        M3Reader(folder, input_dir="x")
    with pytest.raises(InputError, match="`errors` must be"):
        M3Reader(folder, errors="ignore")
    with pytest.raises(InputError, match="`path` must be a file or a folder"):
        M3Reader(3)
    with pytest.raises(ArgumentError, match="no argument `encoding`"):
        M3Reader(folder).load_data(encoding="utf-8")


@pytest.mark.parametrize(
    "text", ["", " ", "One. Two!\n\nThree", "植物需要水。土壤很湿。", " Dr. No came. He left. "]
)
def test_sentences_are_the_text(text):
    assert "".join(split_sentences(text)) == text


def test_a_sentence_window(tiny):
    text = "植物需要水。土壤传感器测量湿度。水泵在土壤干燥时工作。仙人掌喜欢阳光。"
    windows = SentenceWindowNodeParser.from_defaults(
        sentence_splitter=split_sentences, window_size=1
    )
    nodes = windows.get_nodes_from_documents([Document(id_="z", text=text)])
    assert [node.text for node in nodes] == [f"{part}。" for part in text.split("。")[:-1]]
    retriever = M3EnsembleRetriever.from_nodes(nodes, model=tiny, similarity_top_k=1)
    replace = MetadataReplacementPostProcessor(target_metadata_key="window")
    (found,) = replace.postprocess_nodes(retriever.retrieve("土壤传感器测量湿度。"))
    assert found.text.replace(" ", "") == "植物需要水。土壤传感器测量湿度。水泵在土壤干燥时工作。"
