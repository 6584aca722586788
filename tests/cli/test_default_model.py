"""The model of the commands that name none: "small"; of a knowledge base that exists: its own."""

import json
import shlex

import pytest

from m3rag.model import packages

pytest.importorskip("m3rag_small", reason="the model small is not installed")

NOTE = 'New knowledge base with the model "small". For BGE-M3: '


@pytest.fixture
def documents(tmp_path, monkeypatch):
    """A folder of one document, in the working directory."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "two words"
    folder.mkdir()
    (folder / "ferns.md").write_text("# Ferns\n\nFerns like shade.\n")
    return folder.name


@pytest.fixture
def nothing_installed(monkeypatch):
    """Look for models in a group of entry points that no package has."""
    monkeypatch.setattr(packages, "GROUP", "m3rag.no-such-group")


def test_a_new_knowledge_base_says_which_model_it_uses(m3rag, documents):
    status, out, err = m3rag("index", documents, "--to", "kb/")
    first, second = out.splitlines()
    assert (status, second) == (0, "1 added; 1 passages stored, 1 in kb/.")
    assert NOTE not in err
    note, _, command = first.partition("BGE-M3: ")
    assert f"{note}BGE-M3: " == NOTE
    expected = ["m3rag", "index", documents, "--to", "kb-bge-m3", "--model", "BAAI/bge-m3"]
    assert shlex.split(command) == expected
    assert json.loads(m3rag("info", "--in", "kb", "--json")[1])["model"] == "small"
    _, out, err = m3rag("index", documents, "--to", "kb/")
    assert out == "1 unchanged; 0 passages stored, 1 in kb/.\n"
    assert NOTE not in err


def test_the_note_is_no_part_of_the_json(m3rag, documents):
    _, out, err = m3rag("index", documents, "--to", "kb", "--json")
    assert json.loads(out)["added"] == ["two words/ferns.md"]
    assert NOTE in err


def test_an_existing_knowledge_base_keeps_its_model(m3rag, documents):
    assert NOTE not in m3rag("index", documents, "--to", "kb", "--model", "tiny")[1]
    (status, out, err) = m3rag("index", documents, "--to", "kb")
    assert (status, out) == (0, "1 unchanged; 0 passages stored, 1 in kb.\n")
    assert "small" not in err
    assert json.loads(m3rag("info", "--in", "kb", "--json")[1])["model"] == "tiny"


def test_nothing_is_said_for_a_folder_that_cannot_be_one(m3rag, documents):
    status, out, err = m3rag("index", documents, "--to", documents)
    assert (status, out) == (1, "")
    assert "is not an m3rag index" in err
    assert NOTE not in err


def test_an_empty_name_is_no_default(m3rag, documents):
    status, out, err = m3rag("index", documents, "--to", "kb", "--model", "")
    assert (status, out) == (1, "")
    assert "Error: InputError: The model must be a hub id" in err


def test_the_other_commands_have_the_same_default(m3rag):
    status, out, _ = m3rag("encode", "Ferns like shade.", "--json")
    assert status == 0
    assert len(json.loads(out)["dense"]) == 384


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize(
    "command",
    [
        ("index", "two words", "--to", "kb"),
        ("encode", "soil"),
        ("evaluate", "set"),
        ("train", "--data", "pairs.jsonl", "--to", "new"),
        ("train", "mine", "--data", "pairs.jsonl", "--to", "new.jsonl"),
    ],
)
def test_without_the_model_the_error_has_both_ways_out(m3rag, documents, tmp_path, command):
    (tmp_path / "pairs.jsonl").write_text('{"query": "a", "pos": ["b"]}\n')
    (tmp_path / "set").mkdir()
    row = json.dumps({"_id": "1", "text": "a"}) + "\n"
    (tmp_path / "set" / "corpus.jsonl").write_text(row)
    (tmp_path / "set" / "queries.jsonl").write_text(row)
    (tmp_path / "set" / "qrels.tsv").write_text("1\t1\t1\n")
    before = sorted(tmp_path.iterdir())
    status, out, err = m3rag(*command)
    assert (status, out) == (1, "")
    assert " ".join(err.split()).endswith(
        'Error: CheckpointError: The model "small" is not installed. Install it: pip install '
        '"m3rag[small]". Or use BGE-M3, 2.3 GB from the hub: --model BAAI/bge-m3'
    )
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.usefixtures("nothing_installed")
def test_without_the_model_a_knowledge_base_of_another_one_still_works(m3rag, documents):
    assert m3rag("index", documents, "--to", "kb", "--model", "tiny")[0] == 0
    assert m3rag("index", documents, "--to", "kb")[0] == 0
    assert m3rag("ask", "Who likes shade?", "--in", "kb")[0] == 0
