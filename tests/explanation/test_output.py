"""Explanations as HTML and as JSON."""

import dataclasses
import json
from html.parser import HTMLParser

import pytest

from m3rag import Passage, explain
from m3rag.explanation.explanation import page
from m3rag.explanation.markup import code_spans
from tests.explanation.conftest import SCRIPTS, marked
from tests.explanation.test_explanation import QUERY, SETTINGS


class Reader(HTMLParser):
    """Collects the texts of a page by class or tag, and checks that tags are balanced."""

    def __init__(self, content):
        super().__init__()
        self.open: list[tuple[str, str]] = []
        self.texts: dict[str, str] = {}
        self.marks: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(content)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        if tag != "meta":
            self.open.append((tag, dict(attrs).get("class", "")))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if ("div", "legend") in self.open:
            return
        for tag, name in self.open:
            self.texts[name or tag] = self.texts.get(name or tag, "") + data
        if self.open and self.open[-1][0] == "mark":
            self.marks.append(data)


HOSTILE = 'Soil <script>alert("x")</script> & "moist" soil.\n\n<b>Löss</b> ist Boden. رطوبة التربة.'


@pytest.mark.parametrize("text", [HOSTILE, *(case[1] for case in SCRIPTS.values())])
def test_html_shows_the_exact_text(tiny, text):
    query = '<i>soil</i> & moisture of "التربة"?'
    why = explain(tiny, query, Passage("<id>", text, headings=("A & B",)))
    content = why._repr_html_()
    shown = Reader(content)
    assert shown.texts["query"] == query
    assert shown.texts["text"] == text
    assert shown.texts["place"] == "<id> › A & B"
    assert shown.texts["best"] == why.sentence.text
    assert ("dir", "auto") in shown.attributes
    assert "script" not in shown.texts
    assert not {"src", "href"} & {name for name, _ in shown.attributes}
    places = [at for token in why.matched for at in token.passage]
    query_places = [at for token in why.matched for at in token.query]
    both = marked(query, query_places) + marked(text, places)
    assert "".join(shown.marks) == "".join(both)


def test_html_has_the_scores(indexed):
    [hit] = indexed[0].search(QUERY, k=1, fusion="rrf")
    shown = Reader(page([hit.explain()])).texts
    for channel in hit.explain().channels:
        assert f"{channel.score:.4f}" in shown["number"]
        assert channel.name in shown["td"]
    assert "rank" in shown["th"]
    assert shown["title"] == QUERY


def test_json_has_the_whole_explanation(indexed):
    for how in SETTINGS:
        [hit] = indexed[0].search(QUERY, k=1, **how)
        why = hit.explain()
        values = json.loads(json.dumps(why.to_dict(), allow_nan=False))
        assert values == why.to_dict()
        assert set(values) == {field.name for field in dataclasses.fields(why)}
        assert values["passage"] == hit.to_dict()["passage"]
        assert values["matched"][0]["passage"][0] == {
            field.name: getattr(why.matched[0].passage[0], field.name)
            for field in dataclasses.fields(why.matched[0].passage[0])
        }


def test_html_isolates_code_and_explains_its_colours_once(tiny):
    text = "مضخة: `pump --on` أو https://example.org/a?b=1 ``x`\n\n```\npump(1)\n```\nتربة"
    code = ["`pump --on`", "https://example.org/a?b=1", "```", "pump(1)", "```"]
    assert [text[start:end] for start, end in code_spans(text)] == code
    why = explain(tiny, "pump --on", text)
    shown = Reader(why.to_html())
    assert shown.texts["text"] == text
    assert shown.texts["bdi"].startswith("".join(code))
    assert why.to_html().count('<bdi dir="ltr">') == len(code)
    assert page([why, why]).count('class="legend"') == 1


def test_html_shows_the_header_of_a_table(tiny):
    passage = Passage("p", "| Fern | 3 |\n| Moss | 5 |", table_header="| Plant | Water |")
    why = explain(tiny, "How much Water does Moss need?", passage)
    shown = Reader(why.to_html())
    assert shown.texts["text"] == passage.full_text == f"{passage.table_header}\n{passage.text}"
    assert shown.texts["best"] == why.sentence.text == "| Moss | 5 |"
    assert passage.text[why.sentence.start : why.sentence.end] == why.sentence.text
    places = [at for token in why.matched for at in token.passage]
    assert {"Water", "Moss"} <= {*marked(passage.full_text, places)}
