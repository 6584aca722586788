"""Passages encoded together with their document."""

import json

import numpy as np
import pytest

from m3rag import M3Index, Passage
from m3rag.errors import FormatError, InputError
from m3rag.index.manifest import NAME
from m3rag.stores.records import pack

PASSAGES = [
    Passage("fern#0", "The fern likes shade.", document_id="fern"),
    Passage("fern#1", "Water it twice a week.", document_id="fern"),
    Passage("pump#0", "Das Relais schaltet die Pumpe.", document_id="pump"),
    Passage("note", "Water it twice a week."),
]
IDS = [passage.id for passage in PASSAGES]


def vectors(model, **settings):
    with M3Index.open(model=model, **settings) as index:
        index.add(PASSAGES)
        return np.array(index.dense_vectors(IDS))


def test_passages_of_a_document_are_encoded_together(tiny):
    texts, documents = [p.text for p in PASSAGES], [p.document_id for p in PASSAGES]
    together = tiny.encode(texts, documents=documents).dense
    np.testing.assert_allclose(vectors(tiny, context="document"), together, atol=1e-5)


def test_a_passage_alone_is_encoded_without_context(tiny):
    alone, together = vectors(tiny), vectors(tiny, context="document")
    np.testing.assert_allclose(together[2:], alone[2:], atol=1e-5)
    assert np.abs(together[:2] - alone[:2]).max() > 0.01
    np.testing.assert_allclose(alone[1], alone[3], atol=1e-5)  # the same text, without context


def test_the_context_of_an_index_is_stored_and_fixed(tiny, tmp_path):
    with M3Index.open(tmp_path / "kb", model=tiny, context="document") as index:
        index.add(PASSAGES)
        stored = np.array(index.dense_vectors(IDS))
    with M3Index.open(tmp_path / "kb", model=tiny) as index:
        assert index.manifest.context == "document"
        index.add(PASSAGES)
        np.testing.assert_allclose(np.array(index.dense_vectors(IDS)), stored, atol=1e-5)
    with pytest.raises(InputError, match="built with context='document'"):
        M3Index.open(tmp_path / "kb", model=tiny, context="passage")


def test_a_manifest_without_context_means_passage(tiny, tmp_path):
    with M3Index.open(tmp_path / "kb", model=tiny) as index:
        content = json.loads((tmp_path / "kb" / NAME).read_text())
        del content["context"], content["checksum"]
        index.stored.location.write(NAME, pack(content))
    with M3Index.open(tmp_path / "kb", model=tiny) as index:
        assert index.manifest.context == "passage"
        index.stored.location.write(NAME, pack(content | {"context": "galaxy"}))
    with pytest.raises(FormatError, match="galaxy"):
        M3Index.open(tmp_path / "kb", model=tiny)


def test_invalid_contexts(tiny):
    with pytest.raises(InputError, match='"passage" or "document"'):
        M3Index.open(model=tiny, context="page")
    with pytest.raises(InputError, match="on-demand"):
        M3Index.open(model=tiny, context="document", colbert="on-demand")


def test_the_option_of_the_command_line(m3rag, tmp_path):
    folder, kb = tmp_path / "docs", tmp_path / "kb"
    folder.mkdir()
    (folder / "fern.md").write_text("# Fern\n\nIt likes shade.\n\n# Pump\n\nIt runs at night.\n")
    code, out, err = m3rag("index", folder, "--to", kb, "--model", "tiny", "--context", "document")
    assert code == 0, out + err
    assert json.loads((kb / NAME).read_text())["context"] == "document"
