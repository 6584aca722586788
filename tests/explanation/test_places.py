"""Spans of tokens, words and sentences: they count characters and never split a visible one."""

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from m3rag import M3Model, Passage, explain
from m3rag.documents.graphemes import tears
from m3rag.errors import TruncationWarning
from m3rag.explanation import tokens_of
from tests.conftest import TEXTS
from tests.explanation.conftest import SCRIPTS, marked


@pytest.mark.parametrize("text", TEXTS)
def test_the_highest_weight_of_each_token_is_the_sparse_view(with_positions, text):
    [ids], [weights] = with_positions.token_ids([text]), with_positions.token_weights([text])
    assert len(ids) == len(weights)
    highest: dict[int, float] = {}
    for token, weight in zip(ids, weights.tolist(), strict=True):
        if weight > 0 and token not in with_positions.tokenizer.unweighted:
            highest[token] = max(weight, highest.get(token, 0.0))
    assert highest == with_positions.encode([text]).sparse[0]


@pytest.mark.parametrize("script", SCRIPTS)
def test_matched_words_and_best_sentence_in_every_script(tiny, script):
    question, text, words, answer = SCRIPTS[script]
    why = explain(tiny, question, text)
    for side, shown in ((question, "query"), (text, "passage")):
        places = [at for token in why.matched for at in getattr(token, shown)]
        runs = "|".join(marked(side, places))
        for word in words:
            form = word if word in side else unicodedata.normalize("NFKC", word)
            assert form in runs
    for token in why.matched:
        plain = unicodedata.normalize("NFKC", token.piece).strip("▁")
        for at in token.passage:
            assert plain in unicodedata.normalize("NFKC", text[at.start : at.end])
    assert why.sentence.text == answer
    assert text[why.sentence.start : why.sentence.end] == answer


# Visible characters that are several tokens, or one token that ends too early.
@pytest.mark.parametrize(
    "character",
    [
        "e\u0301",
        "½",
        "ﬃ",
        "㎏",
        "ﷺ",
        "👩🏽‍🌾",
        "🇪🇸",
        "น้ำ",
        "ไม้",
        "\u1112\u1161\u11ab",  # 한 in three letters
        "ｶﾞ",
        "ट्टी",
        "क़",
        "بَ",
    ],
)
def test_no_visible_character_is_split(tiny, character):
    for text in (character, f"{character} 1", f"ab {character} 植"):
        start = text.index(character)
        end = start + len(character)
        over = [
            token
            for token in tokens_of(tiny.tokenizer, text)
            if token.start < end and start < token.end
        ]
        assert over, "a token covers the character"
        assert {(token.start, token.end) for token in over} == {(start, end)}


ALPHABET = [*"aZ9.,!?— \n\t…½ﬁ①㎏Ａｂ植土のカｶﾞは한국كيَّفطةﷺकषि्टीनमीนไม้ำเ"]
ALPHABET += ["e\u0301", "\u0327", "🌱", "👩🏽‍🌾", "🇪🇸", "\u200d", "\u200b"]
ALPHABET += ["soil ", "<pad>", "</s>", "▁"]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(ALPHABET), max_size=30).map("".join))
@example("")
@example(" \u0301")
def test_the_text_of_a_token_is_at_its_span(tiny, text):
    tokens = tokens_of(tiny.tokenizer, text)
    assert [token.id for token in tokens] == tiny.token_ids([text])[0]
    for token in tokens:
        assert token.text == text[token.start : token.end]
        for edge in {token.start, token.end} - {0, len(text)}:
            assert not tears(text, edge)
    starts = [token.start for token in tokens]
    assert starts == sorted(starts)


def test_all_occurrences_are_listed_and_the_heaviest_counts(with_positions):
    text = "The soil is dry. Moist soil helps; soil without water, soil in the sun, good soil."
    why = explain(with_positions, "soil or soil", text)
    whole = [token for token in why.matched if token.piece == "▁so"]
    assert len(whole) == 1
    for places, weight in (
        (whole[0].query, whole[0].query_weight),
        (whole[0].passage, whole[0].passage_weight),
    ):
        assert len({at.weight for at in places}) == len(places), "the model weighs by place"
        assert [at.weight == weight for at in places] == [at.counts for at in places]
        assert max(at.weight for at in places) == weight
        assert sum(at.counts for at in places) == 1
    assert [text[at.start : at.end] for at in whole[0].passage] == ["so"] * 5
    assert [text[at.start : at.start + 4] for at in whole[0].passage] == ["soil"] * 5


def test_the_closing_token_is_aligned_too(tiny):
    why = explain(tiny, "soil", "The soil is dry.")
    last = why.alignments[-1].query
    assert (last.piece, last.text, last.start, last.end) == ("</s>", "", 4, 4)
    best = max(why.alignments, key=lambda pair: pair.similarity)
    assert best.query.text in ("so", "il")
    assert best.passage.text == best.query.text


def test_the_best_sentence_points_into_the_document(tiny):
    document = "# Soil\n\nPlants need light. A sensor measures the soil moisture. It is cheap."
    start = document.index("Plants")
    passage = Passage(
        "soil#0", document[start:], document_id="soil", start=start, end=len(document)
    )
    best = explain(tiny, "How is soil moisture measured?", passage).sentence
    assert best.text == "A sensor measures the soil moisture."
    assert document[best.document_start : best.document_end] == best.text
    assert passage.text[best.start : best.end] == best.text
    loose = explain(tiny, "How is soil moisture measured?", passage.text).sentence
    assert (loose.document_start, loose.document_end) == (None, None)


def test_truncated_text_is_not_matched():
    text = "Ferns like shade. " * 3 + "The soil is moist."
    with M3Model.load("tiny", dtype="float32", max_length=12) as model:
        with pytest.warns(TruncationWarning):
            why = explain(model, "soil in the shade", text)
        encoded = model.encode(["soil in the shade"]).n_tokens[0]
    assert len(why.alignments) == encoded - 1
    assert max(pair.passage.end for pair in why.alignments) < text.index("The soil")
    assert "shade" in why.sentence.text
    assert not any(text[at.start : at.end] == "so" for m in why.matched for at in m.passage)


@pytest.mark.parametrize("text", ["", " \n"])
def test_a_passage_without_a_token_is_its_own_sentence(tiny, text):
    why = explain(tiny, "soil", text)
    assert why.matched == ()
    assert why.sentence.text == text
    assert {pair.passage.piece for pair in why.alignments} == {"</s>"}
    assert why.sentence.score == pytest.approx(why.channels[-1].score, abs=1e-6)
