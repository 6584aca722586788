"""Create, reopen and refuse index folders."""

import json
import subprocess
import sys

import pytest

from m3rag import M3Index, M3Model
from m3rag.errors import FormatError, InputError, InUseError, ModelMismatchError
from m3rag.index.manifest import NAME, read_manifest
from m3rag.scoring import BM25
from m3rag.stores.location import locate
from tests.index.conftest import PASSAGES


@pytest.fixture
def folder(tmp_path, tiny):
    """An index with passages, closed."""
    with M3Index.open(tmp_path / "kb", model=tiny) as index:
        index.add(PASSAGES)
    return tmp_path / "kb"


def change(folder, **values):
    content = json.loads((folder / NAME).read_text())
    (folder / NAME).write_text(json.dumps(content | values))


def test_passages_persist(folder, tiny):
    with M3Index.open(folder, model=tiny) as index:
        assert sorted(p.id for p in index.passages()) == sorted(p.id for p in PASSAGES)
        assert index.search("Ferns like shade", k=1)[0].passage == PASSAGES[0]
        index.add(["one more"])
    with M3Index.open(folder, model=tiny) as index:
        assert len(index) == len(PASSAGES) + 1


def test_an_index_loads_its_own_model(folder, monkeypatch, tiny):
    loaded = []

    def load(name):
        loaded.append(name)
        return tiny

    monkeypatch.setattr(M3Model, "load", load)
    with M3Index.open(folder) as index:
        assert index.search("sun", k=1)
    assert loaded == ["tiny"]


def test_missing_folders_are_created(tmp_path, tiny):
    with M3Index.open(tmp_path / "a" / "b" / "kb", model=tiny) as index:
        assert len(index) == 0


def test_an_empty_folder_becomes_an_index(tmp_path, tiny):
    with M3Index.open(tmp_path, model=tiny) as index:
        assert len(index) == 0


def test_a_new_index_needs_a_model(tmp_path):
    for path in (None, tmp_path / "kb"):
        with pytest.raises(InputError, match="needs a model"):
            M3Index.open(path)
    assert not (tmp_path / "kb").exists()


def test_create_false_creates_nothing(tmp_path, tiny):
    with pytest.raises(FormatError, match="does not exist"):
        M3Index.open(tmp_path / "kb", model=tiny, create=False)
    with pytest.raises(FormatError, match="holds no index"):
        M3Index.open(tmp_path, model=tiny, create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_files_is_not_changed(tmp_path, tiny):
    (tmp_path / "thesis.docx").write_text("years of work")
    with pytest.raises(FormatError, match=r"thesis\.docx"):
        M3Index.open(tmp_path, model=tiny)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.docx"]


def test_a_file_is_refused(tmp_path, tiny):
    (tmp_path / "kb").write_text("hello")
    with pytest.raises(FormatError, match="is a file"):
        M3Index.open(tmp_path / "kb", model=tiny)


def test_a_newer_format_is_refused(folder, tiny):
    change(folder, format=99)
    with pytest.raises(FormatError, match=r"format 99.*pip install -U m3rag"):
        M3Index.open(folder, model=tiny)


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"format": 1}',
        b'{"format": "1"}',
        b"null",
        b'{"format": 0}',
    ],
)
def test_a_damaged_manifest_is_refused(folder, tiny, damage):
    (folder / NAME).write_bytes(damage)
    with pytest.raises(FormatError, match=r"m3rag\.json"):
        M3Index.open(folder, model=tiny)


def test_a_manifest_with_invalid_values_is_refused(folder, tiny):
    for key, value in (("colbert", "sometimes"), ("model", "tiny"), ("bm25", {}), ("engine", "x")):
        before = (folder / NAME).read_text()
        change(folder, **{key: value})
        with pytest.raises(FormatError, match="damaged"):
            M3Index.open(folder, model=tiny)
        (folder / NAME).write_text(before)


def test_another_model_is_refused(folder, tiny):
    class Other:
        name, dim, fingerprint = "their/model", 256, "abcdef0123456789"

    with pytest.raises(ModelMismatchError, match=r"'tiny'.*'their/model'"):
        M3Index.open(folder, model=Other())
    with M3Index.open(folder, model=tiny) as index:
        assert len(index) == len(PASSAGES)


def test_other_settings_are_refused(folder, tiny):
    for settings, message in (
        ({"colbert": "off"}, r"colbert='stored'.*'off'"),
        ({"bm25": BM25(b=0.1)}, "b=0.75.*b=0.1"),
        ({"analyzer": lambda texts: [[] for _ in texts]}, "tokenizer of its model"),
        ({"colbert": "maybe"}, '"stored", "on-demand" or "off", got .maybe'),
    ):
        with pytest.raises(InputError, match=message):
            M3Index.open(folder, model=tiny, **settings)


def test_the_same_settings_are_accepted(folder, tiny):
    with M3Index.open(folder, model=tiny, colbert="stored", bm25=BM25()) as index:
        assert len(index) == len(PASSAGES)


def test_a_custom_analyzer_is_required_again(tmp_path, tiny):
    def analyze(texts):
        return [[len(word) for word in text.split()] for text in texts]

    with M3Index.open(tmp_path, model=tiny, analyzer=analyze) as index:
        index.add(["a bb ccc"])
    with pytest.raises(InputError, match=r"custom analyzer\. Pass the same one"):
        M3Index.open(tmp_path, model=tiny)
    with M3Index.open(tmp_path, model=tiny, analyzer=analyze) as index:
        assert len(index.search("xxx", channels=["bm25"])) == 1


def test_bm25_settings_are_stored(tmp_path, tiny):
    with M3Index.open(tmp_path, model=tiny, bm25=BM25(k1=0.9, b=0.4)):
        assert read_manifest(locate(tmp_path)).bm25 == BM25(k1=0.9, b=0.4)


def test_a_second_index_in_the_same_process_is_refused(folder, tiny):
    with M3Index.open(folder, model=tiny), pytest.raises(InUseError, match="in this process"):
        M3Index.open(folder, model=tiny)
    with M3Index.open(folder, model=tiny) as index:
        assert len(index) == len(PASSAGES)


HOLD = """
import sys
from pathlib import Path
from m3rag.stores.edge.store import EdgeStore
store = EdgeStore(Path(sys.argv[1]), dim=256, colbert_dim=256)
print("open", flush=True)
sys.stdin.read()
"""


def test_the_error_names_the_other_process(folder, tiny):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(InUseError, match=f"process {other.pid}"):
            M3Index.open(folder, model=tiny)
        other.stdin.close()
        other.wait()
    with M3Index.open(folder, model=tiny) as index:
        assert len(index) == len(PASSAGES)


def test_damaged_engine_files_are_made_again(folder, tiny):
    with M3Index.open(folder, model=tiny) as index:
        expected = [(hit.passage, hit.score) for hit in index.search("a")]
    [engine] = folder.glob("engine-*")
    for file in engine.rglob("*.json"):
        file.write_text("{")
    with M3Index.open(folder, model=tiny) as index:
        assert [(hit.passage, hit.score) for hit in index.search("a")] == expected
    assert not engine.exists()


def test_an_unfinished_index_is_created_again(folder, tiny, tmp_path):
    """Nothing was added yet, and the manifest comes last."""
    half = tmp_path / "half"
    M3Index.open(half, model=tiny).close()
    (half / NAME).unlink()
    with M3Index.open(half, model=tiny) as index:
        assert index.add(["it works"])
        assert len(index) == 1
