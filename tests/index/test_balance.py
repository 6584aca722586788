"""Searches with `balance`; the numbers are tested in tests/scoring/test_balance.py."""

import numpy as np
import pytest

from m3rag import M3Index, Passage
from m3rag.scoring import balanced

QUERY = "Which plants prefer shade?"
TEXTS = {
    "en": [
        "A cactus needs sun and very little water.",
        "A plant that gets too much water turns yellow.",
        "Which pump you need depends on the plants.",
        "The plant grows two centimetres a day.",
        "Most plants like the sun in the morning.",
        "The garden is closed in winter.",
    ],
    "es": [
        "Los helechos prefieren la sombra.",
        "El tren sale a las ocho de la mañana.",
        "El museo está cerrado los lunes.",
        "La capital de Francia es París.",
        "El precio del pan subió en enero.",
        "Mi hermano estudia medicina en Madrid.",
    ],
}
PASSAGES = [
    Passage(f"{language}{i}", text, {"lang": language})
    for language, texts in TEXTS.items()
    for i, text in enumerate(texts)
]
GOLD = "es0"


@pytest.fixture(scope="module", params=["memory", "folder"])
def index(request, tmp_path_factory, tiny):
    folder = None if request.param == "memory" else tmp_path_factory.mktemp("balance") / "kb"
    with M3Index.open(folder, model=tiny) as index:
        index.add(PASSAGES)
        yield index


def ids(hits):
    return [hit.passage.id for hit in hits]


def test_balance_raises_the_answer_in_the_other_language(index):
    plain, found = (index.search(QUERY, 12, balance=balance) for balance in (None, "lang"))
    assert ids(found).index(GOLD) < ids(plain).index(GOLD)
    assert ids(found)[0] == GOLD
    for language in TEXTS:
        same = [[i for i in ids(hits) if i.startswith(language)] for hits in (plain, found)]
        assert same[0] == same[1]


def test_by_a_key_inside_a_dict(index, tiny):
    with M3Index.open(model=tiny) as nested:
        nested.add([Passage(p.id, p.text, {"of": {"lang": p.metadata["lang"]}}) for p in PASSAGES])
        expected = index.search(QUERY, 12, balance="lang")
        found = nested.search(QUERY, 12, balance="of.lang")
        assert ids(found)[:3] == ids(expected)[:3]
        assert ids(found) != ids(nested.search(QUERY, 12))
        for unknown in ("$id", "$a.b", "of.none", "none"):
            assert ids(nested.search(QUERY, 12, balance=unknown)) == ids(nested.search(QUERY, 12))


def test_only_the_fused_score_is_balanced(index, tiny):
    plain = {hit.passage.id: hit for hit in index.search(QUERY, 12)}
    found = {hit.passage.id: hit for hit in index.search(QUERY, 12, balance="lang")}
    for name, hit in found.items():
        for channel in ("dense", "sparse", "colbert", "matched"):
            assert getattr(hit, channel) == getattr(plain[name], channel)
    order = sorted(found)
    groups = np.array([name[:2] for name in order])
    weights = tiny.presets["default"]
    columns = {c: np.array([getattr(plain[n], c) for n in order], np.float32) for c in weights}
    fused = sum(w * balanced(columns[c], groups) for c, w in weights.items()) / sum(
        weights.values()
    )
    assert [found[name].score for name in order] == pytest.approx(fused.tolist(), abs=1e-5)


def test_memory_and_folder_agree(tiny, tmp_path):
    with M3Index.open(model=tiny) as one, M3Index.open(tmp_path / "kb", model=tiny) as other:
        for index in (one, other):
            index.add(PASSAGES)
        first, second = (index.search(QUERY, 12, balance="lang") for index in (one, other))
    assert ids(first) == ids(second)
    scores = [hit.score for hit in second]
    assert [hit.score for hit in first] == pytest.approx(scores, abs=5e-3)  # float16 vectors


def test_an_unknown_field_changes_nothing(index):
    assert index.search(QUERY, 12, balance="dialect") == index.search(QUERY, 12)


def test_passages_without_the_field_are_a_group(tiny):
    bare = [Passage(p.id, p.text, p.metadata if "en" in p.id else {}) for p in PASSAGES]
    with M3Index.open(model=tiny) as index:
        index.add(bare)
        assert ids(index.search(QUERY, 1, balance="lang")) == [GOLD]


def test_values_of_any_kind_are_groups(tiny):
    kinds = [1, "1", True, None, 1.5, ["en", "es"]]
    passages = [Passage(f"p{i}", "A fern.", {"kind": kind}) for i, kind in enumerate(kinds)]
    with M3Index.open(model=tiny) as index:
        index.add(passages)
        assert len(index.search("fern", balance="kind")) == len(kinds)
        assert index.search("fern", balance="kind", filter={"kind": "missing"}) == []


def test_an_explanation_divides_the_balanced_score(index):
    hit = index.search(QUERY, 1, balance="lang")[0]
    channels = hit.explain().channels
    assert sum(channel.share for channel in channels) == pytest.approx(hit.score)
    assert [c.score for c in channels] == [hit.dense, hit.sparse, hit.colbert]
    dense = channels[0]
    assert dense.share != pytest.approx(
        dense.weight * dense.score / sum(c.weight for c in channels)
    )


async def test_search_many_and_asearch_accept_balance(index):
    expected = index.search(QUERY, 3, balance="lang")
    assert index.search_many([QUERY], 3, balance="lang") == [expected]
    assert await index.asearch(QUERY, 3, balance="lang") == expected
