"""Hostile documents end in a document or in an own error, within 10 s and 1 GB of memory."""

import random
import sys

import pytest

from tests.trials.hostile_documents import CONSTRUCTED, Hostile, hostile_documents
from tests.trials.read_trial import Reader
from tests.trials.record import SEED, record

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured with /proc")

# Found by these trials, or by others before them; each was read for too long or never, or failed
# with an error of a library. Small ones only: the long trial makes the large ones.
QUICK = [
    Hostile("surrogate.html", b'<meta charset="unicode_escape"><p>lone \\ud800 half'),
    Hostile("reference.html", b"<p>&#xD800; &#55357; &#0; x"),
    Hostile("codec.html", b'<meta charset="hex"><p>x'),
    Hostile("punycode.html", b'<meta charset="punycode"><p>' + b"a-" * 50_000),
    Hostile("nul.html", b'<meta charset="a\0b"><p>x'),
    Hostile("nested.html", b"<div>" * 100_000 + b"x"),
    Hostile("front.md", b"---\n" + b"a: b\n" * 400_000),
    Hostile("title.md", b"# " + b"long " * 10_000),
    Hostile("pdf.md", b"%PDF-1.4\n%\xe2\xe3"),
    Hostile("zip.pdf", b"PK\x03\x04word/"),
    Hostile("page.pdf", b"<!DOCTYPE html><p>x"),
    Hostile("image.docx", b"\x89PNG\r\n\x1a\n" + bytes(100)),
]


@pytest.fixture
def reader(tmp_path):
    reader = Reader(tmp_path)
    yield reader
    reader.close()


def test_known_hostile_documents(reader):
    for document in QUICK:
        reader.read(document)
    assert not reader.bad
    assert reader.counts["document"] >= 7


@pytest.mark.parametrize(
    "name", ["word_bomb", "word_lying_sizes", "pdf_loop", "pdf_xref", "odd_charset", "nested_lists"]
)
def test_constructed_documents(reader, name):
    [make] = [make for make in CONSTRUCTED if make.__name__ == name]
    suffix, data = make(random.Random(1))
    reader.read(Hostile(f"{name}.{suffix}", data))
    assert not reader.bad


def test_broken_copies_of_real_files(reader):
    mutations = [d for i, d in enumerate(hostile_documents(1, 60)) if i % 3]
    for document in mutations:
        reader.read(document)
    assert not reader.bad
    assert len({document.name.rpartition(".")[2] for document in mutations}) >= 15


@pytest.mark.trial
@pytest.mark.timeout(1800)
def test_500_hostile_documents(reader):
    tried = 0
    for document in hostile_documents(SEED, 500):
        reader.read(document)
        tried += 1
    counts = reader.counts
    record(
        "hostile documents",
        tried=tried,
        wrong=counts["wrong"],
        hung=counts["hung"],
        raw=counts["raw"] + counts["memory"],
        note=f"{counts['document']} documents, {counts['error']} own errors, slowest "
        f"{reader.slowest:.1f} s, most memory {reader.most >> 20} MB {reader.bad[:5]}",
    )
