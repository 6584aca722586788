"""Checks of citations and quotations."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3rag.answers.citations import Quote, check

PASSAGES = [
    "A fern likes shade.\n\nWater it   twice a week, and never\nat noon.",
    "Los helechos prefieren la sombra.",
    "蕨类植物喜欢阴凉。",
]


def test_valid_numbers_are_kept_in_order():
    found = check("Shade [2], as all say [1][2].", PASSAGES)
    assert found.text == "Shade [2], as all say [1][2]."
    assert found.cited == (2, 1)
    assert found.removed == ()


@pytest.mark.parametrize(
    ("written", "text", "cited", "removed"),
    [
        ("Shade [7].", "Shade.", (), (7,)),
        ("Shade [1][4].", "Shade [1].", (1,), (4,)),
        ("Shade [0, 3].", "Shade [3].", (3,), (0,)),
        ("Shade [1, 2]; [2;3]", "Shade [1][2]; [2][3]", (1, 2, 3), ()),
        ("Shade [2-5].", "Shade [2][3].", (2, 3), (4, 5)),
        ("Shade [3–1].", "Shade [3][1].", (3, 1), ()),
        ("喜欢阴凉【3】。", "喜欢阴凉[3]。", (3,), ()),
        ("छाया [१] में", "छाया [1] में", (1,), ()),
        ("The list [a] and f[x].", "The list [a] and f[x].", (), ()),
        ("Shade [1-999999999].", "Shade [1].", (1,), (999999999,)),
        ("[[9]9] Shade.", "Shade.", (), (9,)),
    ],
)
def test_numbers_without_a_passage_are_removed_and_reported(written, text, cited, removed):
    found = check(written, PASSAGES)
    assert (found.text, found.cited, found.removed) == (text, cited, removed)


@given(st.text(alphabet='[]0123 ,-.【】"“”aé\n', max_size=60))
def test_any_text_cites_only_passages_after_the_check(written):
    found = check(written, PASSAGES)
    assert set(found.cited) <= {1, 2, 3}
    assert not {1, 2, 3} & set(found.removed)
    again = check(found.text, PASSAGES)
    assert (again.text, again.cited, again.removed) == (found.text, found.cited, ())
    single = re.findall(r"\[(\d+)\]", found.text)
    assert {int(number) for number in single} == set(found.cited)


@pytest.mark.parametrize(
    "written",
    [
        'It says "twice a week, and never at noon" [1].',
        'It says "Water it twice a week." [1]',
        'It says "Water it twice a week." [1].',
        "It says “Water it … at noon” [1].",
        'First rule: "A fern likes shade. Water it twice" [1]',
        "Sie sagen „prefieren la sombra“ [2].",
        "Ils disent «prefieren la sombra» [1, 2].",
        "书上说“喜欢阴凉”[3]。",
        "本に「喜欢阴凉」とある[3]。",
        'It says "likes shade". Spaniards agree [1].',
    ],
)
def test_a_quotation_from_a_cited_passage_is_found(written):
    [quote] = check(written, PASSAGES).quotes
    assert quote.found, quote


@pytest.mark.parametrize(
    ("written", "quote"),
    [
        ('It "hates shade" [1].', Quote("hates shade", (1,), False)),
        ('It is "prefieren la sombra" [1]. So [2].', Quote("prefieren la sombra", (1,), False)),
        ("„Water it … at midnight“ [1]", Quote("Water it … at midnight", (1,), False)),
        ('It "likes shade".', Quote("likes shade", (), False)),
        ('It "likes shade" [8].', Quote("likes shade", (), False)),
        ('It says "…" [1].', Quote("…", (1,), False)),
    ],
)
def test_a_quotation_that_is_not_in_a_cited_passage_is_reported(written, quote):
    assert check(written, PASSAGES).quotes == (quote,)


def test_citations_after_the_full_stop_belong_to_the_sentence_before():
    written = 'It is "likes shade." [1] They are "prefieren la sombra." [2]'
    assert [quote.numbers for quote in check(written, PASSAGES).quotes] == [(1,), (2,)]


def test_an_apostrophe_is_not_a_quotation_mark():
    assert check("The fern's shade isn't deep [1].", PASSAGES).quotes == ()
