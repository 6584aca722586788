"""The HTML page is well-formed and self-contained, and shows the numbers of the report."""

import re
from html.parser import HTMLParser

import pytest

from m3rag.evaluation import CorpusDocument, Query, RetrievalSet, evaluate
from m3rag.evaluation.report_page import page

VOID = {"meta", "line", "polyline"}


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.seen, self.attributes = [], [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.attributes += attributes
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def text(report):
    return page(report, report.compare(report, to="dense"))


def test_well_formed_and_self_contained(text):
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert not {"script", "link", "img", "iframe"} & set(reader.seen)
    assert not re.search(r"https?:|url\(|@import", text)


def test_the_numbers_are_the_report_s(text, report):
    plain = re.sub(r"<[^>]+>", " ", text)
    for name, row in report.channels.items():
        assert f"{row['ndcg@10']:.3f}" in plain
        assert text.count(f"<summary>{name}</summary>") == 1
    pair = report.pairs["es-zh"]["colbert"]["ndcg@10"]
    assert f">{pair:.2f}</td>" in text
    assert text.count("<polyline") == len(report.values)
    assert "p = " in plain


def test_one_language_has_no_map(tiny):
    corpus = [CorpusDocument(f"d{i}", f"<b>word{i}</b>") for i in range(3)]
    data = RetrievalSet("<i>set</i>", corpus, [Query("q", "word1")], {"q": {"d1": 1}})
    text = page(evaluate(tiny, data, channels=["bm25"]))
    assert "<i>" not in text
    assert "<details" not in text
    assert "in common" not in text
