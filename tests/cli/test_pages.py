"""Files that commands write: whole or not at all, and nothing in them that runs."""

import os
import re
import resource
import stat
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from m3rag import Passage, explain
from m3rag.cli.pages import check_file, check_page, write_page
from m3rag.errors import InputError
from m3rag.evaluation import CorpusDocument, Query, RetrievalSet, measure, score_run
from m3rag.evaluation.report_page import page as report_page
from m3rag.explanation.explanation import page as explanation_page
from tests.cli.hostile import HOSTILE

WORD = re.compile("[a-z0-9-]+")
TAGS = """html head meta title style body div h1 h2 p small span mark table thead tbody tr th td bdi
details summary svg line text polyline"""
ATTRIBUTES = """lang charset name content http-equiv class dir title style open viewbox width height
role aria-label x y x1 x2 y1 y2 stroke stroke-width fill points text-anchor"""


class Reader(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self, content):
        super().__init__()
        self.tags, self.attributes, self.styles = set(), set(), set()
        self.text = ""
        self.feed(content)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.styles |= {value for name, value in attrs if name == "style"}

    def handle_data(self, data):
        self.text += data


def check_content(content):
    shown = Reader(content)
    assert shown.tags <= set(WORD.findall(TAGS))
    assert shown.attributes <= set(WORD.findall(ATTRIBUTES))
    assert not any("url" in style or "alert" in style for style in shown.styles)
    assert not set(content) & {chr(i) for i in (*range(9), 11, 12, *range(14, 32), 127, 0x9B)}
    content.encode()
    assert "default-src 'none'" in content
    return shown


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_an_explanation_holds_nothing_that_runs(tiny, text):
    valid = text.encode(errors="replace").decode()
    passage = Passage(
        "<i>", f"soil {valid} moisture", document_id=valid, headings=(valid, "</div>")
    )
    why = explain(tiny, f"moisture {valid} soil", passage)
    shown = check_content(explanation_page([why, why]))
    if text == HOSTILE["html"]:
        assert text in shown.text


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_report_holds_nothing_that_runs(text):
    data = RetrievalSet(
        text,
        [CorpusDocument("d", "soil", text), CorpusDocument("e", "moisture", "en")],
        [Query("q", "soil", text), Query("r", "moisture", "en")],
        {"q": {"d": 1, "e": 1}, "r": {"e": 1, "d": 1}},
    )
    report = measure(score_run({"q": {"d": 1.0}, "r": {"e": 1.0}}, data, name=text))
    shown = check_content(report_page(report, report.compare(report)))
    if text == HOSTILE["html"]:
        assert text in shown.text


def test_a_page_replaces_a_file_and_keeps_its_permissions_and_links(tmp_path):
    page, link = tmp_path / "page.html", tmp_path / "link.html"
    write_page(page, "one \ud800")
    assert page.read_text() == "one \\ud800"
    page.chmod(0o640)
    link.symlink_to(page)
    write_page(link, "two")
    assert link.is_symlink()
    assert page.read_text() == "two"
    assert stat.S_IMODE(page.stat().st_mode) == 0o640
    assert len(list(tmp_path.iterdir())) == 2


def test_an_old_page_survives_a_disk_that_is_full(tmp_path):
    page = tmp_path / "page.html"
    page.write_text("old")
    code = (
        "import pathlib, sys\nfrom m3rag.cli.pages import write_page\n"
        "from m3rag.errors import InputError\n"
        "try: write_page(pathlib.Path(sys.argv[1]), 'x' * 100_000)\n"
        "except InputError as error: print(error)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, page],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == f"{page} cannot be written: File too large.\n"
    assert page.read_text() == "old"
    assert list(tmp_path.iterdir()) == [page]


def test_what_is_no_file_is_refused_or_written_through(tmp_path):
    with pytest.raises(InputError, match="it is a folder"):
        check_page(tmp_path)
    with pytest.raises(InputError, match="there is no folder"):
        check_page(tmp_path / "none" / "page.html")
    with pytest.raises(InputError, match="File name too long"):
        check_page(tmp_path / ("x" * 300))
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(InputError, match="cannot be written: No such device"):
        write_page(fifo, "nobody reads")
    with pytest.raises(InputError, match="it is a pipe or a device"):
        check_file(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    write_page(fifo, "read")
    assert os.read(reader, 100) == b"read"
    os.close(reader)
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_device_is_written_and_not_replaced():
    ours, theirs = os.openpty()
    name = os.ttyname(theirs)
    write_page(Path(name), "page")
    assert os.read(ours, 100) == b"page"
    assert stat.S_ISCHR(os.stat(name).st_mode)
    with pytest.raises(InputError, match="it is a pipe or a device"):
        check_file(Path(name))
    os.close(ours)
    os.close(theirs)
