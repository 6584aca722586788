"""Texts as they are shown: data, whatever they contain."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3rag.cli.output import passage
from m3rag.cli.visible import SHOWN, block, json_escaped, line, marked_block
from tests.cli.hostile import HOSTILE, NEVER

ANY = st.text(st.characters(exclude_categories=())) | st.text(
    st.sampled_from("ab \n\r\t\x1b\x07\x7f\x9b\u200c\u200d\u200e\u202e\ud800\udcffé水م\U000e0041🏴")
)
GOOD = [
    "می‌خواهم نامه‌ای بنویسم",  # ZWNJ in Persian
    "क्‍ष और क्‌ष",  # ZWJ and ZWNJ in Hindi
    "👩🏽‍🌾 👨‍👩‍👧 🏳️‍🌈 ❤️",
    "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",  # the flag of Scotland
    "ภาษา\u200bไทย",  # a word break in Thai
    "עברית\u200f (abc)",
    "葛\U000e0100城市",  # a variant of a character
    "naïve café — “quoted” … ½ ﬁ ﷺ ™ ﻼ",
    "C:\\new\\table [red] :smile: 100 %",
]


@pytest.mark.parametrize("text", GOOD)
def test_real_text_stays_as_it_is(text):
    assert line(text) == block(text) == text


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_shown_as_data(text):
    for shown in (line(text), block(text)):
        assert not NEVER.search(shown)
        shown.encode()
    assert "\n" not in line(text)
    assert len(line(text)) < 3 * SHOWN


def test_the_escapes_say_what_was_there():
    assert line("b\nc\td\r\x1b[0m\x9b\u202e\u2028\U000e0041") == (
        r"b\nc\td\r\x1b[0m\x9b\u202e\u2028\U000e0041"
    )
    assert line(b"caf\xe9 \xff".decode("utf-8", "surrogateescape")) == r"caf\xe9 \xff"
    assert line("\ud83d") == r"\ud83d"
    assert block("a\r\nb\tc\rd\x0c") == "a\nb\tc\\rd\\x0c"
    assert line("pay\u200dpal\u200b \u200fx") == r"pay\u200dpal\u200b \u200fx"
    shown = line("begin" + "x" * 10_000 + "end")
    assert shown.startswith("begin")
    assert shown.endswith("end")
    assert len(shown) == SHOWN + 3


@given(ANY)
def test_any_text_can_be_shown(text):
    assert re.fullmatch(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]*", line(text))
    assert re.fullmatch(r"[^\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]*", block(text))


@given(ANY)
def test_json_keeps_every_value(text):
    for only_ascii in (True, False):
        shown = json_escaped(json.dumps({text: [text]}, ensure_ascii=only_ascii))
        shown.encode("ascii" if only_ascii else "utf-8")
        assert not re.search(r"[\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown)
        again = json.loads(shown)
        # Two halves that follow each other are one character in JSON.
        whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        assert again in ({text: [text]}, {whole: [whole]})


@given(ANY, st.data())
def test_places_move_with_the_text(text, data):
    start = data.draw(st.integers(0, len(text)))
    shown, place = marked_block(text)
    assert place(0) == 0
    assert place(len(text)) == len(shown)
    if not re.search("[\u200b-\u200f\u061c\ufe00-\ufe0f\r\U000e0000-\U000e01ef]", text):
        assert shown[place(start) :] == block(text[start:])


def test_highlights_are_where_they_belong():
    text = "\x1b[31m" * 5 + "x" * 1_000 + " needle\r\n\x07 end"
    at = text.index("needle")
    shown = passage(text, at, [(at, at + 6, "bold"), (0, 5, "dim"), (at + 7, at + 9, "red")])
    found = {span.style: shown.plain[span.start : span.end] for span in shown.spans}
    assert found["bold"] == "needle"
    assert found["red"] == "\n\\x07"
    assert "dim" not in found
    assert shown.plain.startswith("… x")
    assert shown.plain.endswith("\n\\x07 end")
    everything = passage("\x1bab", 0, [(1, 2, "bold")])
    assert everything.plain == "\\x1bab"
    [span] = everything.spans
    assert everything.plain[span.start : span.end] == "a"
