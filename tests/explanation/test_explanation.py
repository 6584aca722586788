"""Explanations: the numbers are the hit's, the spans are what a reader sees."""

import copy
import dataclasses
import json
import unicodedata
from html.parser import HTMLParser

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from m3rag import Hit, M3Index, M3Model, Passage, explain
from m3rag.documents.graphemes import tears
from m3rag.errors import InputError, TruncationWarning
from m3rag.explanation import tokens_of
from m3rag.explanation.explanation import page
from m3rag.model import checkpoint
from m3rag.model.lookup import BUNDLED
from m3rag.scoring import SCORED
from tests.conftest import TEXTS
from tests.index.conftest import PASSAGES

QUERY = "Where does a fern like moist soil?"
COLBERT = {"memory": 1e-5, "edge": 5e-3}  # 8 bits a dimension on the disk
SETTINGS = [
    {},
    {"weights": "cross-lingual"},
    {"weights": (1, 0.3, 1, 0.1)},
    {"weights": {"sparse": 2, "bm25": 1}},
    {"channels": SCORED},
    {"fusion": "rrf"},
    {"fusion": "rrf", "weights": (1, 0.5, 2, 1)},
]

# (question, passage, words that both have, the sentence that answers)
SCRIPTS = {
    "Latin": (
        "How is soil moisture measured?",
        "Plants need light. A sensor measures the soil moisture. It costs ten euros.",
        ["soil", "moisture"],
        "A sensor measures the soil moisture.",
    ),
    "Chinese": (
        "土壤湿度怎么测量？",
        "植物需要光。传感器测量土壤湿度。它很便宜。",
        ["土壤", "湿度", "测量"],
        "传感器测量土壤湿度。",
    ),
    "Japanese": (
        "土壌の水分を測定するには?",
        "植物には光が要る。センサーで土壌の水分を測定する。安い。",
        ["土", "水分", "測定"],
        "センサーで土壌の水分を測定する。",
    ),
    "Arabic": (
        "كيف تقاس رطوبة التربة؟",
        "النباتات تحتاج إلى الضوء. المستشعر يقيس رطوبة التربة. السعر منخفض.",
        ["رطوبة", "التربة"],
        "المستشعر يقيس رطوبة التربة.",
    ),
    "Hindi": (
        "मिट्टी की नमी कैसे मापें?",
        "पौधों को प्रकाश चाहिए। सेंसर मिट्टी की नमी मापता है। यह सस्ता है।",
        ["मिट्टी", "नमी"],
        "सेंसर मिट्टी की नमी मापता है।",
    ),
    "Thai": ("น้ำในดิน", "ต้นไม้ต้องการแสง\n\nเซ็นเซอร์วัดน้ำในดิน", ["ในดิน"], "เซ็นเซอร์วัดน้ำในดิน"),
    "emoji": (
        "🌱 soil moisture?",
        "Light 👩🏽‍🌾 helps. The 🌱 sensor measures soil moisture. Done e\u0301.",
        ["🌱", "moisture"],
        "The 🌱 sensor measures soil moisture.",
    ),
    "full width": (
        "soil moisture sensor",
        "Ｌｉｇｈｔ ½ ㎏. Ａ ｓｅｎｓｏｒ ｆｏｒ ｓｏｉｌ ｍｏｉｓｔｕｒｅ.",
        ["ｓｏｉｌ", "ｍｏｉｓｔｕｒｅ", "ｓｅｎｓｏｒ"],
        "Ａ ｓｅｎｓｏｒ ｆｏｒ ｓｏｉｌ ｍｏｉｓｔｕｒｅ.",
    ),
}


@pytest.fixture(params=COLBERT, scope="module")
def indexed(request, tiny, tmp_path_factory):
    """An index of each store with the passages in it, and how exactly it keeps ColBERT."""
    folder = None if request.param == "memory" else tmp_path_factory.mktemp("kbs") / "kb"
    with M3Index.open(folder, model=tiny) as index:
        index.add(PASSAGES)
        yield index, COLBERT[request.param]


@pytest.fixture(scope="module")
def positional():
    """ "tiny" with random position embeddings: a token's weight depends on its place."""
    weights = checkpoint.read(BUNDLED["tiny"])
    name = "embeddings.position_embeddings.weight"
    noise = torch.randn(weights.encoder[name].shape, generator=torch.Generator().manual_seed(3))
    encoder = {**weights.encoder, name: 0.3 * noise}
    with M3Model(dataclasses.replace(weights, encoder=encoder), dtype="float32") as model:
        yield model


def marked(text, places):
    """Which characters some place covers, as one string for each run."""
    covered = [any(p.start <= i < p.end for p in places) for i in range(len(text))]
    kept = "".join(c if on else "\0" for c, on in zip(text, covered, strict=True))
    return [run for run in kept.split("\0") if run]


# The numbers


@pytest.mark.parametrize("how", SETTINGS, ids=str)
def test_shares_add_up_to_the_score(indexed, how):
    index, _ = indexed
    for hit in index.search(QUERY, **how):
        why = hit.explain()
        assert why.score == hit.score
        assert sum(c.share for c in why.channels) == pytest.approx(hit.score, abs=1e-5)
        reported = [name for name in SCORED if getattr(hit, name) is not None]
        assert [c.name for c in why.channels] == reported
        assert [c.score for c in why.channels] == [getattr(hit, name) for name in reported]


def test_products_make_up_sparse_and_similarities_colbert(indexed):
    index, exact = indexed
    for hit in index.search(QUERY):
        why = hit.explain()
        assert sum(m.product for m in why.matched) == pytest.approx(hit.sparse, abs=1e-5)
        mean = sum(a.similarity for a in why.alignments) / len(why.alignments)
        assert mean == pytest.approx(hit.colbert, abs=exact)
        assert [m.id for m in why.matched] == [token for token, _, _ in hit.matched]
        for token, (_, in_query, in_passage) in zip(why.matched, hit.matched, strict=True):
            assert token.query_weight == pytest.approx(in_query, abs=1e-5)
            assert token.passage_weight == pytest.approx(in_passage, abs=1e-5)
            assert token.product == token.query_weight * token.passage_weight


def test_shares_by_hand(indexed):
    [hit] = indexed[0].search(
        QUERY, k=1, weights=(2, 0, 1), channels=["dense", "sparse", "colbert"]
    )
    dense, sparse, colbert = hit.explain().channels
    assert dense.share == pytest.approx(2 * hit.dense / 3)
    assert (sparse.weight, sparse.share) == (0.0, 0.0)
    assert colbert.share == pytest.approx(hit.colbert / 3)


def test_ranks_are_those_of_each_channel(indexed):
    hits = indexed[0].search(QUERY, fusion="rrf", weights=(1, 0.5, 2, 1))
    assert any(hit.sparse == 0 for hit in hits), "one passage shares no token"
    for hit in hits:
        why = hit.explain()
        for channel in why.channels:
            if channel.name in ("sparse", "bm25") and channel.score == 0:
                assert (channel.rank, channel.share) == (None, 0.0)
                continue
            better = sum(getattr(other, channel.name) > channel.score for other in hits)
            assert channel.rank == better + 1
            expected = channel.weight / (60 + channel.rank)
            assert channel.share == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("text", TEXTS)
def test_the_highest_weight_of_each_token_is_the_sparse_view(positional, text):
    [ids], [weights] = positional.token_ids([text]), positional.token_weights([text])
    assert len(ids) == len(weights)
    highest = {}
    for token, weight in zip(ids, weights.tolist(), strict=True):
        if weight > 0 and token not in positional.tokenizer.unweighted:
            highest[token] = max(weight, highest.get(token, 0.0))
    assert highest == positional.encode([text]).sparse[0]


def test_weighted_has_no_ranks(indexed):
    assert {c.rank for c in indexed[0].search(QUERY, k=1)[0].explain().channels} == {None}


def test_two_texts_are_explained_like_a_hit(tiny):
    with M3Index.open(model=tiny) as index:
        index.add(PASSAGES)
        for hit in index.search(QUERY, weights="long-document"):
            why = explain(tiny, QUERY, hit.passage, weights="long-document")
            found = hit.explain()
            assert why.score == pytest.approx(found.score, abs=1e-6)
            for one, other in zip(why.channels, found.channels, strict=True):
                assert one.share == pytest.approx(other.share, abs=1e-6)
            assert why.matched == found.matched
            assert why.alignments == found.alignments
            assert why.sentence == found.sentence


async def test_hits_of_every_kind_of_index_explain_themselves(tiny):
    for colbert in ("stored", "on-demand", "off"):
        with M3Index.open(model=tiny, colbert=colbert) as index:
            index.add(PASSAGES)
            [hit] = await index.asearch(QUERY, k=1)
            why = hit.explain()
            assert [c.name for c in why.channels][2:] == ["colbert"][: colbert != "off"]
            assert why.alignments, "computed, whether or not the channel counts"
            assert why.sentence.text == hit.passage.text


def test_each_query_of_many_has_its_own_explanation(tiny):
    with M3Index.open(model=tiny) as index:
        index.add(PASSAGES)
        queries = [QUERY, "植物需要什么?"]
        for query, hits in zip(queries, index.search_many(queries), strict=True):
            assert {hit.explain().query for hit in hits} == {query}


# The places


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


# One character for a reader, and for the tokenizer several tokens, or one that ends too early.
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
        assert over, "some token stands there"
        assert {(token.start, token.end) for token in over} == {(start, end)}


ALPHABET = [*"aZ9.,!?— \n\t…½ﬁ①㎏Ａｂ植土のカｶﾞは한국كيَّفطةﷺकषि्टीनमीนไม้ำเ"]
ALPHABET += ["e\u0301", "\u0327", "🌱", "👩🏽‍🌾", "🇪🇸", "\u200d", "\u200b"]
ALPHABET += ["soil ", "<pad>", "</s>", "▁"]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(ALPHABET), max_size=30).map("".join))
@example("")
@example(" \u0301")
def test_tokens_stand_where_they_say(tiny, text):
    tokens = tokens_of(tiny.tokenizer, text)
    assert [token.id for token in tokens] == tiny.token_ids([text])[0]
    for token in tokens:
        assert token.text == text[token.start : token.end]
        for edge in {token.start, token.end} - {0, len(text)}:
            assert not tears(text, edge)
    starts = [token.start for token in tokens]
    assert starts == sorted(starts)


def test_every_occurrence_is_there_and_the_heaviest_counts(positional):
    text = "The soil is dry. Moist soil helps; soil without water, soil in the sun, good soil."
    why = explain(positional, "soil or soil", text)
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


def test_what_was_cut_off_is_not_matched():
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


# Hits stay plain values


def test_hits_of_equal_searches_are_equal(indexed):
    index, _ = indexed
    assert index.search(QUERY) == index.search(QUERY)
    [hit] = index.search(QUERY, k=1)
    assert "origin" not in repr(hit)
    assert set(hit.to_dict()) == {"score", "passage", "matched", *SCORED}


@pytest.mark.parametrize(
    "lose", [copy.deepcopy, lambda hit: Hit(hit.score, hit.passage, dense=hit.dense)]
)
def test_a_hit_that_has_left_its_search_says_how_to_explain_it(indexed, tiny, lose):
    [hit] = indexed[0].search(QUERY, k=1, channels=["dense"])
    lost = lose(hit)
    assert lost == hit
    with pytest.raises(InputError, match=r"m3rag\.explain\(model, query, hit\.passage\)"):
        lost.explain()
    assert explain(tiny, QUERY, lost.passage).matched
    json.dumps(dataclasses.asdict(hit))


def test_a_hit_found_by_a_vector_has_no_question(indexed, tiny):
    [hit] = indexed[0].search_by_vector(tiny.encode([QUERY]).dense[0], k=1)
    with pytest.raises(InputError, match="explain"):
        hit.explain()


def test_a_hit_outlives_its_index_but_not_its_model():
    with M3Model.load("tiny", dtype="float32") as model:
        with M3Index.open(model=model) as index:
            index.add(PASSAGES)
            [hit] = index.search(QUERY, k=1)
        assert hit.explain().passage == hit.passage
    with pytest.raises(InputError, match="closed"):
        hit.explain()


@pytest.mark.parametrize(
    ("query", "passage", "how", "message"),
    [
        ("", "soil", {}, "query is empty"),
        ("soil", "soil", {"weights": (1, 1, 1, 1)}, "bm25|dense, sparse and colbert"),
        ("soil", "soil", {"weights": "best"}, "cross-lingual"),
        ("soil", 7, {}, "Passage or a string"),
    ],
)
def test_bad_arguments_say_what_to_pass(tiny, query, passage, how, message):
    with pytest.raises(InputError, match=message):
        explain(tiny, query, passage, **how)


# How it is shown


class Reader(HTMLParser):
    """The texts of a page by the class or tag they stand in; complains of unbalanced tags."""

    def __init__(self, content):
        super().__init__()
        self.open, self.texts, self.marks, self.attributes = [], {}, [], []
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
        for tag, name in self.open:
            self.texts[name or tag] = self.texts.get(name or tag, "") + data
        if self.open and self.open[-1][0] == "mark":
            self.marks.append(data)


HOSTILE = 'Soil <script>alert("x")</script> & "moist" soil.\n\n<b>Löss</b> ist Boden. رطوبة التربة.'


@pytest.mark.parametrize("text", [HOSTILE, *(case[1] for case in SCRIPTS.values())])
def test_html_shows_the_text_as_it_is(tiny, text):
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
    asked = [at for token in why.matched for at in token.query]
    both = marked(query, asked) + marked(text, places)
    assert "".join(shown.marks) == "".join(both)


def test_html_has_the_numbers(indexed):
    [hit] = indexed[0].search(QUERY, k=1, fusion="rrf")
    shown = Reader(page([hit.explain()])).texts
    for channel in hit.explain().channels:
        assert f"{channel.score:.4f}" in shown["number"]
        assert channel.name in shown["td"]
    assert "rank" in shown["th"]
    assert shown["title"] == QUERY


def test_json_is_the_whole_explanation(indexed):
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
