"""Reading retrieval sets, and the errors for files that are invalid or do not match."""

import gzip
import json
import shutil

import pytest
import zstandard

from m3rag.errors import InputError
from m3rag.evaluation import CorpusDocument, Query, RetrievalSet
from tests.evaluation.conftest import FOLDER

NAMES = ("corpus.jsonl", "queries.jsonl", "qrels.tsv")


@pytest.fixture
def folder(tmp_path):
    """A folder with two documents and one query, for tests to change."""
    corpus = [
        {"_id": "d1", "title": "Ferns", "text": "Water them."},
        {"_id": "d2", "text": "Cacti"},
    ]
    query = {"_id": "q1", "text": "How?", "spans": {"d1": [0, 5], "d2": [0, 2]}}
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(d) + "\n" for d in corpus))
    (tmp_path / "queries.jsonl").write_text(json.dumps(query) + "\n")
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    return tmp_path


def test_the_real_set(xquad):
    assert xquad.name == "data"
    assert (len(xquad.corpus), len(xquad.queries)) == (36, 66)
    assert xquad.languages == ("en", "es", "zh")
    assert len({query.question for query in xquad.queries}) == 22
    assert all(len(grades) == 3 for grades in xquad.qrels.values())


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_plain_and_compressed_are_alike(ending, tmp_path, xquad):
    compress = {
        "": bytes,
        ".gz": gzip.compress,
        ".zst": zstandard.ZstdCompressor().compress,
    }[ending]
    for name in NAMES:
        (tmp_path / f"{name}{ending}").write_bytes(compress((FOLDER / name).read_bytes()))
    read = RetrievalSet.read(tmp_path)
    assert (read.corpus, read.queries, read.qrels) == (xquad.corpus, xquad.queries, xquad.qrels)


def test_qrels_of_the_test_split(tmp_path, xquad):
    shutil.copytree(FOLDER, tmp_path / "set")
    (tmp_path / "set" / "qrels").mkdir()
    (tmp_path / "set" / "qrels.tsv").rename(tmp_path / "set" / "qrels" / "test.tsv")
    assert RetrievalSet.read(tmp_path / "set").qrels == xquad.qrels


def test_a_title_heads_the_text_and_moves_the_spans(folder):
    data = RetrievalSet.read(folder)
    first, second = data.corpus
    start, end = data.queries[0].spans["d1"]
    assert first.text == "Ferns\n\nWater them."
    assert first.text[start:end] == "Water"
    start, end = data.queries[0].spans["d2"]
    assert second.text[start:end] == "Ca"
    assert data.languages == ("und",)


def test_sample_takes_questions_in_all_their_languages(xquad):
    sample = xquad.sample(5)
    assert [query.question for query in sample.queries][::3] == [
        query.question for query in xquad.queries
    ][::15]
    assert len(sample.queries) == 15
    assert sample.qrels.keys() == {query.id for query in sample.queries}
    assert xquad.sample(1) is xquad
    with pytest.raises(InputError, match=r"`every` must be at least 1, got 0\. Use 1 to keep all"):
        xquad.sample(0)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file(name, folder):
    (folder / name).unlink()
    with pytest.raises(InputError, match=rf"has no {name}.*not a retrieval set"):
        RetrievalSet.read(folder)


def test_neither_folder_nor_id():
    with pytest.raises(InputError, match=r"There is no folder '\./nowhere'"):
        RetrievalSet.read("./nowhere")


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("corpus.jsonl", "{not json", "line 3 is not JSON"),
        ("corpus.jsonl", "[1]", "line 3 is not a JSON object"),
        ("corpus.jsonl", '{"_id": 3, "text": "x"}', "line 3: '_id' is missing or not a string"),
        ("corpus.jsonl", '{"_id": "d1", "text": "x"}', r"has duplicate document ids \(1\)"),
        ("queries.jsonl", '{"_id": "q2"}', "line 2: 'text' is missing or not a string"),
        (
            "queries.jsonl",
            '{"_id": "q2", "text": "", "spans": {"d1": 3}}',
            r"the span of the document 'd1' must be \[start, end\], got 3",
        ),
        (
            "queries.jsonl",
            '{"_id": "q2", "text": "", "spans": {"d8": [0, 1], "d9": [0, 1]}}',
            "The spans of the set .* name 2 unknown documents; the first is 'd8'",
        ),
        ("qrels.tsv", "q1 d2 1", "line 3 must be query-id, corpus-id and an integer score"),
        ("qrels.tsv", "q1\td2\tmuch", "line 3 must be query-id"),
        ("qrels.tsv", "q7\td1\t1\nq8\td1\t1", "The qrels of the set .* name 2 unknown queries"),
        ("qrels.tsv", "q1\td7\t1", "The qrels of the set .* name 1 unknown documents"),
    ],
)
def test_invalid_lines(name, line, message, folder):
    with (folder / name).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(InputError, match=message):
        RetrievalSet.read(folder)


def test_a_damaged_file(folder):
    (folder / "corpus.jsonl").rename(folder / "corpus.jsonl.gz")
    with pytest.raises(InputError, match="cannot be read"):
        RetrievalSet.read(folder)
    (folder / "corpus.jsonl.gz").rename(folder / "corpus.jsonl.zst")
    with pytest.raises(InputError, match="cannot be read"):
        RetrievalSet.read(folder)


def test_nothing_to_evaluate():
    document, query = CorpusDocument("d", "text"), Query("q", "text")
    with pytest.raises(InputError, match="has no documents"):
        RetrievalSet("empty", [], [query], {})
    with pytest.raises(InputError, match="has no queries"):
        RetrievalSet("empty", [document], [], {})
    with pytest.raises(InputError, match="contain no relevant document"):
        RetrievalSet("empty", [document], [query], {"q": {"d": 0}})


def test_a_data_set_of_ir_datasets(tmp_path):
    """A data set of local files, registered under its own id; nothing is downloaded."""
    ir_datasets = pytest.importorskip("ir_datasets")
    (tmp_path / "docs.tsv").write_text("d1\tFerns need water.\nd2\tCacti do not.\n")
    (tmp_path / "queries.tsv").write_text("q1\twater\n")
    (tmp_path / "qrels").write_text("q1 0 d1 2\n")
    local, formats = ir_datasets.util.LocalDownload, ir_datasets.formats
    dataset = ir_datasets.datasets.base.Dataset(
        formats.TsvDocs(local(str(tmp_path / "docs.tsv")), lang="en"),
        formats.TsvQueries(local(str(tmp_path / "queries.tsv")), lang="es"),
        formats.TrecQrels(local(str(tmp_path / "qrels")), {}),
    )
    ir_datasets.registry.register("plants/test", dataset)
    data = RetrievalSet.read("plants/test")
    assert [(d.id, d.text, d.language) for d in data.corpus] == [
        ("d1", "Ferns need water.", "en"),
        ("d2", "Cacti do not.", "en"),
    ]
    assert data.queries == [Query("q1", "water", "es")]
    assert data.qrels == {"q1": {"d1": 2}}
    with pytest.raises(InputError, match="no data set of ir_datasets has this id"):
        RetrievalSet.read("plants/no-such-part")


HOSTILE = {
    "deep": '{"_id": "x", "text": ' + "[" * 100_000,
    "digits": '{"_id": "x", "text": "t", "n": ' + "9" * 5_000 + "}",
    "surrogate": r'{"_id": "x", "text": "half \ud800"}',
    "nul": '{"_id": "x\0", "text": "t"}',
    "title": '{"_id": "x", "text": "t", "title": ["a"]}',
    "lang": '{"_id": "x", "text": "t", "lang": {"a": 1}}',
}


@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_line_of_a_corpus(tmp_path, line):
    folder = tmp_path / "set"
    shutil.copytree(FOLDER, folder)
    (folder / "corpus.jsonl").write_text(line + "\n")
    with pytest.raises(InputError, match=r"corpus\.jsonl, line 1") as caught:
        RetrievalSet.read(folder)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "spans",
    ["7", '{"d": [1e999, 2]}', '{"d": [3, 1]}', '{"d": [true, 2]}', '{"d": [0.5, 2]}', '{"d": 1}'],
)
def test_hostile_spans(tmp_path, spans):
    folder = tmp_path / "set"
    shutil.copytree(FOLDER, folder)
    line = f'{{"_id": "q", "text": "t", "spans": {spans}}}\n'
    (folder / "queries.jsonl").write_text(line)
    with pytest.raises(InputError, match=r"queries\.jsonl, line 1.*span"):
        RetrievalSet.read(folder)


@pytest.mark.parametrize("grade", ["9" * 5_000, "1000001", "nan", "1.5", "x" * 10_000])
def test_hostile_grades(tmp_path, grade):
    folder = tmp_path / "set"
    shutil.copytree(FOLDER, folder)
    (folder / "qrels.tsv").write_text(f"q\td\t{grade}\n")
    with pytest.raises(InputError, match=r"qrels\.tsv, line 1") as caught:
        RetrievalSet.read(folder)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("source", ["a\0b", "x" * 5_000, "~no-such-user-here/x", None, 7])
def test_a_source_that_cannot_be_a_path(source):
    with pytest.raises(InputError) as caught:
        RetrievalSet.read(source)
    assert len(str(caught.value)) < 600
