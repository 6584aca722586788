"""Documents made to take time or memory, or to be taken for something else."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile

import pytest

from m3rag.documents import parser_process, read
from m3rag.documents.decoding import decode
from m3rag.documents.formats.markdown import parse as parse_markdown
from m3rag.documents.signatures import mismatch
from m3rag.errors import DocumentError
from m3rag.limits import DEFAULT_LIMITS, Limits
from tests.trials.document_mutations import with_parts
from tests.trials.hostile_documents import CORPUS, pdf_page, word

# The type by content


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.md", (CORPUS / "roots.pdf").read_bytes(), "a PDF file"),
        ("a.txt", (CORPUS / "trees.docx").read_bytes(), "a Word file"),
        ("a.pdf", (CORPUS / "moss.html").read_bytes(), "an HTML page"),
        ("a.pdf", (CORPUS / "trees.docx").read_bytes(), "a Word file"),
        ("a.docx", (CORPUS / "roots.pdf").read_bytes(), "a PDF file"),
        ("a.docx", b"{\\rtf1 x}", "an RTF file"),
        ("a.pdf", b"\x89PNG\r\n\x1a\n" + bytes(9), "a PNG image"),
        ("a.txt", b"\x7fELF\2\1\1\0", "a program"),
        ("a.html", b"\x1f\x8b\x08\0\0\0", "a gzip file"),
        ("a.md", b"SQLite format 3\0" + bytes(90), "an SQLite database"),
    ],
)
def test_a_wrong_suffix_is_named(write, name, data, kind):
    with pytest.raises(DocumentError, match=f"is {kind}.*but its suffix says"):
        read(write(name, data))


@pytest.mark.parametrize("text", ["MZ is a prefix.", "GIF89a is one.", "ID3 tags", "BZh x"])
def test_prose_that_starts_like_another_file_is_text(write, text):
    assert read(write("a.txt", text)).text == text
    assert mismatch(text.encode(), "markdown") is None


def test_a_spreadsheet_is_no_word_file(write):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("xl/workbook.xml", "<x/>")
    with pytest.raises(DocumentError, match="an Excel file"):
        read(write("a.pdf", data.getvalue()))


# Encodings


@pytest.mark.parametrize(
    "charset",
    [
        "unicode_escape",
        "raw_unicode_escape",
        "utf-7",
        "hex",
        "zlib",
        "punycode",
        "undefined",
        "mbcs",
    ],
)
def test_only_encodings_of_text_can_be_declared(write, charset):
    page = f'<meta charset="{charset}"><p>lone \\ud800 +2AA- half'
    assert "\\ud800 +2AA- half" in read(write("a.html", page)).text


@pytest.mark.parametrize("page", ["<p>a &#xD800; b", "<h1>&#55357;a", "<title>&#xDFFF;</title>x"])
def test_half_of_a_surrogate_pair_becomes_a_replacement_character(write, page):
    document = read(write("a.html", page))
    parts = (document.text, *(h.title for h in document.headings), *document.metadata.values())
    for part in parts:
        part.encode()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32", "gb18030"])
def test_text_is_decoded_in_pieces_as_it_is_whole(encoding):
    text = "aé土😀\r\n\r" * 300_000
    decoded = decode(text.encode(encoding), encoding, DEFAULT_LIMITS)
    assert decoded == text.replace("\r\n", "\n").replace("\r", "\n")


def test_the_place_of_a_wrong_byte_is_exact_in_a_large_file():
    data = "土".encode() * 800_000 + b"\xff"
    with pytest.raises(DocumentError, match="byte 2400000 is not UTF-8"):
        decode(data, None, DEFAULT_LIMITS)


# Limits


def test_the_length_of_a_text_is_limited(write):
    limits = Limits(text_characters=1_000)
    for name, text in [("a.txt", "x" * 1_001), ("a.md", "é" * 1_001), ("a.html", "<p>x</p>" * 500)]:
        with pytest.raises(DocumentError, match=r"more than 1,000 characters.*text_characters"):
            read(write(name, text), limits=limits)
    assert len(read(write("b.txt", "😀" * 1_000), limits=limits).text) == 1_000


def test_pages_are_limited(write):
    path = write("a.pdf", pdf_page(b"BT /F1 12 Tf (x) Tj ET", pages=30))
    assert len(read(path).pages) == 30
    with pytest.raises(DocumentError, match=r"30 pages, more than the limit of 20.*pages=…"):
        read(path, limits=Limits(pages=20))


def test_a_bomb_is_seen_in_the_directory_of_the_archive(write):
    path = write("a.docx", word(b" " * 100_000_000))
    start = time.monotonic()
    with pytest.raises(DocumentError, match=r"bytes after decompression, [0-9,]+ times its size"):
        read(path)
    assert time.monotonic() - start < 5
    with pytest.raises(DocumentError, match=r"more than the limit of 50,000,000.*expanded_bytes"):
        read(path, limits=Limits(expanded_bytes=50_000_000))


def test_a_bomb_that_lies_about_its_size_is_not_expanded(write):
    data = word(b" " * 100_000_000)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = archive.getinfo("word/document.xml").file_size
    lie = data.replace(size.to_bytes(4, "little"), (100).to_bytes(4, "little"))
    with pytest.raises(DocumentError, match="damaged archive"):
        read(write("a.docx", lie), limits=Limits(reader_bytes=100 << 20))


def test_an_archive_has_a_limited_number_of_parts(write):
    data = io.BytesIO((CORPUS / "trees.docx").read_bytes())
    with zipfile.ZipFile(data, "a") as archive:
        for number in range(10_001):
            archive.writestr(f"x{number}", b"")
    with pytest.raises(DocumentError, match=r"parts, more than 10,000"):
        read(write("a.docx", data.getvalue()))


def test_images_of_a_word_file_are_not_unpacked(write):
    data = with_parts((CORPUS / "trees.docx").read_bytes(), lambda part: part or os.urandom(100))
    assert "Oaks grow slowly." in read(write("a.docx", data)).text


def test_external_entities_are_not_read(write, tmp_path):
    (tmp_path / "secret").write_text("secret")
    entity = f'<!DOCTYPE x [<!ENTITY e SYSTEM "file://{tmp_path}/secret">]><w:document'.encode()
    data = word(b"<w:p><w:r><w:t>&e;</w:t></w:r></w:p>")
    data = with_parts(data, lambda p: p.replace(b"<w:document", entity, 1), "word/document.xml")
    assert "secret" not in read(write("a.docx", data)).text


def test_many_paragraphs_take_linear_time(write):
    document = read(write("a.docx", word(b"<w:p><w:r><w:t>a</w:t></w:r></w:p>" * 20_000)))
    assert document.text.count("\n\na") >= 20_000


def test_titles_are_short(write):
    long = "long " * 10_000
    for name, text in [
        ("a.md", f"# {long}\n\nx"),
        ("a.html", f"<title>{long}</title><h1>{long}</h1>x"),
    ]:
        document = read(write(name, text))
        assert len(document.headings[0].title) <= 512
        assert len(document.metadata["title"]) <= 512


# The parser process

SLOW = pdf_page(b"BT /F1 12 Tf " + b"(x) Tj " * 100_000 + b"ET", pages=100)


def test_a_slow_document_ends_at_the_deadline_and_the_next_is_read(write):
    start = time.monotonic()
    with pytest.raises(DocumentError, match=r"more than the limit of 1 seconds.*--max-seconds"):
        read(write("slow.pdf", SLOW), limits=Limits(reader_seconds=1))
    assert time.monotonic() - start < 5
    assert read(write("a.html", "<p>Moss")).text == "Moss"


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs signals")
def test_the_time_of_other_processes_does_not_count(write):
    path = write("a.html", "<p>Moss")
    read(path)
    child = last_parser()
    child.send_signal(signal.SIGSTOP)  # as on a machine that is very busy
    go_on = threading.Timer(1.2, child.send_signal, [signal.SIGCONT])
    go_on.start()
    assert read(path, limits=Limits(reader_seconds=1)).text == "Moss"
    go_on.join()
    assert last_parser() is child


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
def test_a_document_cannot_take_more_memory_than_the_limit(write):
    with pytest.raises(DocumentError, match=r"its parser needs more than.*of memory"):
        read(write("a.html", "<b>" * 300_000), limits=Limits(reader_bytes=100 << 20))
    assert read(write("a.html", "<p>Moss")).text == "Moss"


def last_parser():
    """Return the parser process that was used last, and is used next."""
    return parser_process._POOL._free[-1]._child


def test_the_process_is_used_again_and_started_again(write):
    path = write("a.html", "<p>Moss")
    read(path)
    first = last_parser()
    read(path)
    assert last_parser() is first
    first.send_signal(signal.SIGTERM)  # as after 30 s without work, or by an administrator
    first.wait()
    assert read(path).text == "Moss"


def test_a_crash_is_the_documents_own_error(write):
    path = write("slow.pdf", SLOW)
    read(write("a.html", "<p>Moss"))
    child = last_parser()
    killer = threading.Timer(0.5, child.send_signal, [signal.SIGSEGV])
    killer.start()
    with pytest.raises(DocumentError, match="its parser ended with status -11"):
        read(path)
    killer.join()


def test_threads_share_the_processes(write):
    paths = [write(f"{i}.html", f"<p>Moss {i}") for i in range(40)]
    texts = {}

    def work(i):
        texts[i] = read(paths[i]).text

    threads = [threading.Thread(target=work, args=[i]) for i in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == {i: f"Moss {i}" for i in range(40)}
    assert not parser_process._POOL._busy
    assert len(parser_process._POOL._free) <= parser_process.MOST


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_has_a_process_of_its_own(write):
    code = """
import os, sys
from m3rag import read
first = read(sys.argv[1]).text
child = os.fork()
if not child:
    os._exit(0 if read(sys.argv[1]).text == first else 1)
status = os.waitpid(child, 0)[1]
assert read(sys.argv[1]).text == first
sys.exit(status)
"""
    path = write("a.html", "<p>Moss")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_document_can_be_read_anywhere(write, tmp_path):
    """The process finds m3rag from any folder, and a module of the user does not hide one."""
    (tmp_path / "json.py").write_text("raise SystemExit")
    code = "import sys; sys.path.pop(0); from m3rag import read; print(read('a.html').text)"
    write("a.html", "<p>Moss")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.stdout == "Moss\n", done.stderr


# Markdown


def test_front_matter_without_an_end_takes_linear_time():
    seconds = []
    for lines in (20_000, 80_000):
        start = time.process_time()
        assert parse_markdown("---\n" + "a: b\n" * lines).title is None
        seconds.append(time.process_time() - start)
    assert seconds[1] < 8 * seconds[0] + 0.5


def test_the_headings_of_a_large_text_are_found_in_one_pass():
    part = (CORPUS / "ferns.md").read_text().partition("---\n# ")[2]
    small = parse_markdown("# " + part)
    large = parse_markdown("# " + part + "\n\nfiller line\n" * 160_000)
    assert len(small.headings) == 3
    kept = [h for h in large.headings if h.title != "hidden"]
    assert kept[:3] == list(small.headings)
