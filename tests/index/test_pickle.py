"""Indexes and hits that are pickled and copied: by reference, or refused with a sentence."""

import copy
import pickle  # noqa: TID251  # users and frameworks do
import subprocess
import sys

import pytest

from m3rag import M3Index, M3Model, Passage
from m3rag.errors import ClosedError, InputError, InUseError
from m3rag.limits import Limits
from m3rag.model import checkpoint
from tests.index.conftest import PASSAGES
from tests.index.test_index import QUERY, ids

OTHER = """
import pickle, sys
index = pickle.load(sys.stdin.buffer)
print(index.limits.results, index.model.name, *(h.passage.id for h in index.search({!r}, 2)))
index.close()
"""


def letters(texts):
    return [[ord(letter) for letter in text] for text in texts]


@pytest.fixture
def kb(tmp_path, tiny):
    with M3Index.open(tmp_path / "kb", model=tiny, limits=Limits(results=500)) as index:
        index.add(PASSAGES)
        yield index


def test_in_the_same_process_it_is_the_open_index(kb, tmp_path, monkeypatch):
    content = pickle.dumps(kb)
    assert len(content) < 2_000
    assert pickle.loads(content) is kb
    monkeypatch.chdir("/")  # the path was absolute
    assert pickle.loads(content) is kb


def test_copies_are_the_index_itself(kb, index):
    for given in (kb, index):
        assert copy.copy(given) is given
        assert copy.deepcopy({"a": [given]})["a"][0] is given


def test_another_process_opens_it_again(kb):
    content = pickle.dumps(kb)
    expected = ["500", "tiny", *ids(kb.search(QUERY, 2))]
    command = [sys.executable, "-c", OTHER.format(QUERY)]
    in_use = subprocess.run(command, input=content, capture_output=True, check=False)
    assert InUseError.__name__ in in_use.stderr.decode()
    kb.close()
    found = subprocess.run(command, input=content, capture_output=True, check=True)
    assert found.stdout.decode().split() == expected


def test_a_closed_index_is_opened_again(kb, tiny):
    hits, content = kb.search(QUERY, 3), pickle.dumps(kb)
    kb.close()
    with pickle.loads(content) as again:
        assert again is not kb
        assert again.model.fingerprint == tiny.fingerprint
        assert (again.limits, again.search(QUERY, 3)) == (kb.limits, hits)
        assert pickle.loads(content) is again


def test_with_an_analyzer(tmp_path, tiny):
    with M3Index.open(tmp_path / "kb", model=tiny, analyzer=letters) as index:
        index.add(["ab", "cd"])
        content = pickle.dumps(index)
    with pickle.loads(content) as again:
        assert [h.passage.text for h in again.search("b", channels=["bm25"])] == ["ab"]


def test_a_folder_that_is_gone(kb, tmp_path):
    content = pickle.dumps(kb)
    kb.close()
    (tmp_path / "kb").rename(tmp_path / "moved")
    with pytest.raises(Exception, match="create=False requires an index that exists"):
        pickle.loads(content)


def test_an_index_in_memory_says_that_it_cannot(tiny):
    with M3Index.open(model=tiny) as index, pytest.raises(InputError, match="Open it in a folder"):
        pickle.dumps(index)


def test_a_model_without_a_name_says_that_it_cannot(tmp_path, tiny_folder):
    unnamed = M3Model(checkpoint.read(tiny_folder))
    with (
        M3Index.open(tmp_path / "kb", model=unnamed) as index,
        pytest.raises(InputError, match="no name to load it by"),
    ):
        pickle.dumps(index)
    unnamed.close()


def test_models(tiny, tmp_path, tiny_folder):
    assert copy.copy(tiny) is copy.deepcopy([tiny])[0] is tiny
    again = pickle.loads(pickle.dumps(tiny))
    assert (again.fingerprint, again.name) == (tiny.fingerprint, "tiny")
    assert again is pickle.loads(pickle.dumps(again))
    with (
        M3Model(checkpoint.read(tiny_folder)) as unnamed,
        pytest.raises(InputError, match="no name to load it by"),
    ):
        pickle.dumps(unnamed)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda hit: pickle.loads(pickle.dumps(hit))])
def test_hits_are_copied_without_their_model(index, copied):
    hit = index.search(QUERY, 1, weights=(1, 1, 1, 1))[0]
    other = copied(hit)
    assert other == hit
    assert other.matched == hit.matched
    assert len(pickle.dumps(hit)) < 2_000
    with pytest.raises(InputError, match="not attached to a query and a model"):
        other.explain()


def test_the_text_of_an_index_says_what_it_is(tmp_path, tiny):
    with M3Index.open(model=tiny) as index:
        index.add([Passage("a", "x"), Passage("b", "y")])
        expected = "M3Index(in memory, model='tiny', colbert='stored', 2 passages)"
        assert repr(index) == str(index) == expected
    folder = tmp_path / "kb"
    with M3Index.open(folder, model=tiny, colbert="off", context="document") as index:
        expected = f"M3Index({str(folder)!r}, model='tiny', colbert='off', context='document', "
        assert repr(index) == f"{expected}0 passages)"
    assert repr(index) == f"{expected}closed)"
    with pytest.raises(ClosedError):
        index.count()
