"""Searches of an index, in memory and in a folder, with the bundled model."""

import json

import numpy as np
import pytest

from m3rag import Hit, M3Index, compute_score
from m3rag.errors import InputError, StorageError
from m3rag.scoring import BM25
from tests.index.conftest import PASSAGES

QUERY = "Where does a fern like to grow?"


def ids(hits):
    return [hit.passage.id for hit in hits]


def test_hits_have_passages_and_scores(index, tiny):
    hits = index.search(QUERY, k=3)
    assert len(hits) == 3
    scores = compute_score(tiny, [(QUERY, hit.passage.text) for hit in hits])
    weights = tiny.presets["default"]
    for i, hit in enumerate(hits):
        assert hit.passage in PASSAGES
        assert hit.dense == pytest.approx(scores["dense"][i], abs=1e-4)
        assert hit.sparse == pytest.approx(scores["sparse"][i], abs=1e-4)
        assert hit.colbert == pytest.approx(scores["colbert"][i], abs=5e-3)
        assert hit.bm25 is None
        weighted = sum(weight * getattr(hit, name) for name, weight in weights.items())
        assert hit.score == pytest.approx(weighted / sum(weights.values()))
        assert {type(s) for s in (hit.score, hit.dense, hit.sparse, hit.colbert)} == {float}


def test_hits_are_sorted(index):
    scores = [hit.score for hit in index.search(QUERY)]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) > 1


def test_hits_are_json(index):
    hit = index.search("植物需要什么?", k=1, channels=["dense", "sparse", "colbert", "bm25"])[0]
    values = json.loads(json.dumps(hit.to_dict()))
    assert values["passage"]["text"] == hit.passage.text
    assert values["bm25"] == hit.bm25
    assert values["matched"] == [list(match) for match in hit.matched]


def test_matched_tokens_make_up_the_sparse_score(index):
    hit = index.search("Ferns like shade and moist soil.", k=1, channels=["sparse"])[0]
    assert hit.matched
    assert sum(q * p for _, q, p in hit.matched) == pytest.approx(hit.sparse, abs=1e-5)


def test_the_same_hits_in_memory_and_in_a_folder(tiny, tmp_path):
    texts = [f"{p.text} {word}" for p in PASSAGES for word in ("one", "two", "três", "四")]
    with M3Index.open(model=tiny) as memory, M3Index.open(tmp_path / "kb", model=tiny) as folder:
        memory.add(texts)
        folder.add(texts)
        for settings in (
            {},
            {"fusion": "rrf", "channels": ["dense", "sparse", "bm25"]},
            {"weights": "long-document"},
            {"weights": (1, 0.3, 0)},
            {"weights": {"bm25": 1, "dense": 5}},
            {"channels": ["sparse"]},
            {"channels": ["bm25"]},
        ):
            expected = memory.search(QUERY, k=20, **settings)
            found = folder.search(QUERY, k=20, **settings)
            ours, theirs = {h.passage.id: h for h in found}, {h.passage.id: h for h in expected}
            assert ours.keys() == theirs.keys()
            for i, hit in ours.items():
                assert hit.score == pytest.approx(theirs[i].score, abs=3e-3)
            gaps = np.diff([-h.score for h in expected])
            if len(gaps) and gaps.min() > 1e-3:
                assert ids(found) == ids(expected)


def test_fusion_is_over_the_scored_channels_only(index):
    hit = index.search(QUERY, k=1, weights=(2, 1, 0))[0]
    assert hit.colbert is None
    assert hit.score == pytest.approx((2 * hit.dense + hit.sparse) / 3)


def test_rrf_of_one_channel_uses_ranks(index):
    hits = index.search(QUERY, k=3, fusion="rrf", channels=["dense"])
    assert [hit.score for hit in hits] == pytest.approx([1 / 61, 1 / 62, 1 / 63])


def test_a_channel_without_weight_is_reported_but_does_not_count(index):
    hits = index.search(QUERY, weights=(1, 0, 0), channels=["dense", "sparse"])
    assert all(hit.sparse is not None for hit in hits)
    assert [hit.score for hit in hits] == pytest.approx([hit.dense for hit in hits])


def test_a_channel_alone_counts_even_without_a_weight_in_the_preset(index):
    hits = index.search("shade", channels=["bm25"])
    assert ids(hits)[0] == "fern"
    assert [hit.score for hit in hits] == [hit.bm25 for hit in hits]


def test_colbert_alone_scores_every_passage(index):
    assert len(index.search(QUERY, channels=["colbert"])) == len(PASSAGES)


def test_a_filter_limits_the_hits(index):
    assert set(ids(index.search(QUERY, filter={"lang": ["es", "zh"]}))) == {"helecho", "植物"}
    assert set(ids(index.search(QUERY, filter={"lang": "es"}))) == {"helecho"}
    assert index.search(QUERY, filter={"lang": "fr"}) == []


def test_search_many_gives_the_hits_of_single_searches(index):
    queries = [QUERY, "¿Qué planta quiere sombra?", "植物"]
    for hits, query in zip(index.search_many(queries, 3), queries, strict=True):
        alone = index.search(query, 3)
        assert ids(hits) == ids(alone)
        assert [h.score for h in hits] == pytest.approx([h.score for h in alone], abs=1e-5)


def test_search_many_without_queries(index):
    assert index.search_many([]) == []


async def test_async_search_is_search(index):
    assert ids(await index.asearch(QUERY, 3)) == ids(index.search(QUERY, 3))
    many = await index.asearch_many([QUERY, "植物"], 2, weights="cross-lingual")
    assert [ids(h) for h in many] == [
        ids(index.search(q, 2, weights="cross-lingual")) for q in (QUERY, "植物")
    ]


def test_an_empty_index_finds_nothing(place, tiny):
    with M3Index.open(place, model=tiny) as index:
        assert index.search(QUERY) == []
        assert len(index) == 0
        assert index


def test_k_beyond_the_count(index):
    assert len(index.search(QUERY, k=1000)) == len(PASSAGES)


def test_repr_has_the_place_and_the_model(own, place):
    assert "tiny" in repr(own)
    assert ("in memory" if place is None else str(place)) in repr(own)
    own.close()
    assert "closed" in repr(own)


@pytest.mark.parametrize("mode", ["on-demand", "off"])
def test_modes_without_stored_vectors(place, tiny, mode):
    with M3Index.open(place, model=tiny, colbert=mode) as index:
        index.add(PASSAGES)
        hits = index.search(QUERY, k=5)
        assert len(hits) == 5
        assert all((hit.colbert is None) == (mode == "off") for hit in hits)
        with pytest.raises(InputError, match="colbert"):
            index.search(QUERY, channels=["colbert"])


def test_on_demand_gives_the_scores_of_stored(place, tiny):
    with (
        M3Index.open(model=tiny) as stored,
        M3Index.open(place, model=tiny, colbert="on-demand") as index,
    ):
        stored.add(PASSAGES)
        index.add(PASSAGES)
        expected = {h.passage.id: h.colbert for h in stored.search(QUERY)}
        found = {h.passage.id: h.colbert for h in index.search(QUERY)}
        assert found == pytest.approx(expected, abs=1e-4)


def test_weights_for_missing_vectors_are_an_error(place, tiny):
    with (
        M3Index.open(place, model=tiny, colbert="off") as index,
        pytest.raises(InputError, match=r'no colbert vectors.*colbert="stored"'),
    ):
        index.search(QUERY, weights=(1, 0.3, 1))


def test_a_custom_analyzer_for_bm25(place, tiny):
    words: dict[str, int] = {}

    def analyze(texts):
        return [[words.setdefault(w, len(words)) for w in t.lower().split()] for t in texts]

    with M3Index.open(place, model=tiny, analyzer=analyze, bm25=BM25(k1=0.9, b=0.4)) as index:
        index.add(PASSAGES)
        assert ids(index.search("SUN", channels=["bm25"])) == ["cactus"]
        assert index.search("su", channels=["bm25"]) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"query": ""}, "query is empty"),
        ({"query": " \n"}, "query is empty"),
        ({"query": 7}, "must be a string, got int"),
        ({"k": 0}, "`k` must be .* at least 1, got 0"),
        ({"k": 2.5}, "`k` must be .* got 2.5"),
        ({"k": True}, "`k` must be"),
        ({"candidates": 0}, "`candidates` must be .* got 0"),
        ({"k": 10, "candidates": 5}, "candidates=5 cannot give k=10.*candidates=10"),
        ({"weights": "best"}, '"long-document"'),
        ({"weights": (0, 0, 0)}, "All weights are zero"),
        ({"fusion": "magic"}, '"weighted" or "rrf"'),
        ({"channels": ["dens"]}, "dense, sparse, colbert, bm25"),
        ({"channels": "dense"}, "`channels` must be a list"),
        ({"channels": []}, "`channels` must be a list"),
        ({"filter": "lang=es"}, "A filter must be a dict"),
        ({"balance": ["lang"]}, "`balance` must be a metadata field .* got .'lang'"),
        ({"balance": ""}, "`balance` must be a metadata field"),
        ({"balance": "lang", "fusion": "rrf"}, "uses ranks only.*weighted"),
    ],
)
def test_invalid_arguments(index, arguments, message):
    with pytest.raises(InputError, match=message):
        index.search(**{"query": QUERY, **arguments})


def test_queries_must_be_a_list(index):
    with pytest.raises(InputError, match="use search"):
        index.search_many("one query")


def test_a_closed_index_raises(own):
    own.close()
    own.close()
    for use in (
        lambda: own.search(QUERY),
        lambda: own.add(["x"]),
        lambda: own.delete(["x"]),
        lambda: own.get(["x"]),
        lambda: own.count(),
        lambda: list(own.passages()),
        lambda: own.optimize(),
    ):
        with pytest.raises(StorageError, match="closed"):
            use()


def test_presets_without_colbert_use_the_other_channels(place, tiny):
    with M3Index.open(place, model=tiny, colbert="off") as index:
        index.add(PASSAGES)
        hit = index.search(QUERY, k=1)[0]
        dense, sparse = (tiny.presets["default"][channel] for channel in ("dense", "sparse"))
        expected = (dense * hit.dense + sparse * hit.sparse) / (dense + sparse)
        assert hit.score == pytest.approx(expected)


def test_a_model_has_weights_for_searches_without_colbert(tiny, monkeypatch):
    presets = {**tiny.presets, "no-colbert": {"dense": 1.0, "sparse": 0.5}}
    monkeypatch.setattr(tiny, "presets", presets)
    with M3Index.open(model=tiny) as index:
        index.add(PASSAGES)
        for weights in ("default", "same-language"):
            hit = index.search(QUERY, k=1, weights=weights, channels=["dense", "sparse"])[0]
            assert hit.score == pytest.approx((hit.dense + 0.5 * hit.sparse) / 1.5)
        given = (0.2, 0.3, 1)
        hit = index.search(QUERY, k=1, weights=given, channels=["dense", "sparse"])[0]
        assert hit.score == pytest.approx((0.2 * hit.dense + 0.3 * hit.sparse) / 0.5)


def test_a_hit_is_frozen(index):
    hits = index.search(QUERY, k=1)
    assert [type(hit) for hit in hits] == [Hit]
    with pytest.raises(AttributeError):
        hits[0].score = 1.0
