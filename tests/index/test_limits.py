"""Arguments of a search that do not fit."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from m3rag import M3Index, Passage
from m3rag.errors import InputError
from m3rag.index.query import parse_request
from m3rag.index.settings import SearchSettings
from m3rag.limits import DEFAULT_LIMITS, Limits
from m3rag.scoring import BM25, compute_score, parse_weights, weighted_sum
from tests.index.conftest import PASSAGES

HUGE = [10**21, 10**4_000, 10**5_000, 1_000_001]


def kind_of(value):
    return type(value).__name__


def refused(call, match):
    with pytest.raises(InputError, match=match) as caught:
        call()
    assert len(str(caught.value)) < 1_000
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", HUGE, ids=range(len(HUGE)))
def test_numbers_that_do_not_fit(index, number):
    refused(lambda: index.search("fern", number), "`k` must be at most 1,000,000, got")
    refused(lambda: index.search("fern", 1, candidates=number), "`candidates` must be at most")
    refused(lambda: index.search_by_vector([0.0] * 256, number), "must be at most")
    refused(lambda: index.add(["x"], batch=number), "`batch` must be at most")
    assert len(index.search("fern", 1_000_000)) == len(PASSAGES)


@pytest.mark.parametrize("number", [True, 1.0, "3", None, 0, -(10**30), float("nan"), np.int64(3)])
def test_numbers_of_another_kind(index, number):
    refused(lambda: index.search("fern", number), "`k` must be an integer of at least 1")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("half \ud800", "The query is not valid Unicode: character 5"),
        ("x" * 1_000_001, "The query has 1,000,001 characters, and the limit is 1,000,000"),
        ("", "query is empty"),
        ("\n\u3000", "query is empty"),
        (b"bytes", "must be a string, got bytes"),
        (None, "must be a string, got NoneType"),
    ],
    ids=range(6),
)
def test_queries_that_are_refused(index, tiny, query, message):
    refused(lambda: index.search(query), message)
    refused(lambda: index.search_many(["fine", query]), message)
    refused(lambda: index.rescore(query, ["a text"]), message)


@pytest.mark.parametrize("queries", ["text", None, 7])
def test_queries_that_are_no_list(index, queries):
    refused(lambda: index.search_many(queries), "`queries`")


def test_queries_from_a_generator_are_all_searched(index):
    assert len(index.search_many((text for text in ("fern", "cactus")), 1)) == 2


def test_the_limits_are_a_parameter():
    limits = Limits(query_characters=5, results=7)
    given = {"colbert": "stored", "presets": {}, "limits": limits}
    request = parse_request(["fern"], 7, SearchSettings(candidates=7), ("dense",), **given)
    assert request.k == 7
    for texts, k in ((["ferns!"], 7), (["fern"], 8)):
        refused(
            lambda t=texts, k=k: parse_request(t, k, SearchSettings(), ("dense",), **given),
            "is 5|most 7",
        )


@pytest.mark.parametrize(
    "vector",
    [
        [True] * 256,
        [1j] * 256,
        ["1"] * 256,
        [None] * 256,
        [[1.0]] * 256,
        [10**400] * 256,
        [1e300] * 256,
        [float("nan")] * 256,
        np.zeros(256, bool),
        np.zeros(256, complex),
        np.zeros(256, object),
        np.zeros(256, "datetime64[s]"),
        np.full(256, 1e30),
        np.full(256, np.inf, np.float32),
        np.zeros((1, 256)),
        np.zeros(()),
        "x" * 256,
        bytes(256),
        range(255),
        7,
        None,
        dict.fromkeys(range(256), 0.0),
    ],
    ids=range(22),
)
def test_vectors_that_are_refused(index, vector):
    refused(lambda: index.search_by_vector(vector), "`vector` must be 256 finite numbers")


@pytest.mark.parametrize("kind", [np.float16, np.float64, np.int8, list, tuple])
def test_vectors_of_other_kinds(index, kind):
    zeros = kind([0.0] * 256) if kind in (list, tuple) else np.zeros(256, kind)
    assert len(index.search_by_vector(zeros, 2)) == 2


def test_a_vector_of_shared_lists_is_refused_at_once(index):
    shared: list[Any] = [1.0]
    for _ in range(60):
        shared = [shared, shared]
    refused(lambda: index.search_by_vector([shared] * 256), "finite numbers")


@pytest.mark.parametrize(
    "options",
    [
        {"weights": (1, 10**400, 1)},
        {"weights": (1e308, 1e308, 1e308)},
        {"weights": (1e-300, 0, 0)},
        {"weights": (1j, 0, 0)},
        {"weights": (np.complex128(1), 0, 0)},
        {"weights": (True, 1, 1)},
        {"weights": (np.bool_(True), 1, 1)},
        {"weights": {"dense": np.nan}},
        {"weights": {"dense": None}},
        {"weights": {3: 1}},
        {"weights": np.ones((3, 3))},
        {"weights": "x" * 10**6},
        {"weights": [1] * 10**6},
        {"fusion": np.array([1, 2])},
        {"fusion": "x" * 10**6},
        {"channels": [np.array([1, 2])]},
        {"channels": ["dense", None]},
        {"channels": ["x" * 10**6]},
        {"balance": "x" * 513},
        {"balance": "\ud800"},
        {"balance": 7},
        {"filter": {"a": 10**5_000}},
        {"filter": {"$not": 10**5_000}},
        {"filter": "x" * 10**6},
        {"candidates": True},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_that_are_refused(index, options):
    refused(lambda: index.search("fern", **options), ".")


def test_weights_at_the_limits_keep_the_order(index):
    expected = [hit.passage.id for hit in index.search("fern", weights=(1, 1, 0))]
    for scale in (1e-9, 1e9):
        for fusion in ("weighted", "rrf"):
            found = index.search("fern", weights=(scale, scale, 0), fusion=fusion)
            assert all(np.isfinite(hit.score) and hit.score != 0 for hit in found[:1])
            if fusion == "weighted":
                assert [hit.passage.id for hit in found] == expected
    scores = {"dense": np.array([0.5], np.float32)}
    assert weighted_sum(scores, {"dense": parse_weights((1e-9, 0, 0))["dense"]})[0] == 0.5


@pytest.mark.parametrize(
    "settings",
    [
        {"k1": float("inf")},
        {"k1": float("nan")},
        {"k1": 1e300},
        {"k1": 10**400},
        {"k1": "1"},
        {"k1": True},
        {"b": None},
        {"average_length": 1e-300},
        {"average_length": float("inf")},
    ],
    ids=range(9),
)
def test_settings_of_bm25(settings):
    refused(lambda: BM25(**settings), "BM25 needs")


@pytest.mark.parametrize(
    "tokens", [[1.5], ["a"], [None], [2**70], [[1], [2]], [True], 7], ids=range(7)
)
def test_token_ids_of_another_kind(tokens):
    refused(lambda: BM25().passages([tokens]), "Token ids must be")


def test_an_analyzer_that_returns_too_few_lists(tiny):
    with M3Index.open(model=tiny, analyzer=lambda texts: [[1]]) as index:
        refused(lambda: index.add(["one", "two"]), "returned 1 lists of token ids for 2 texts")
        assert len(index) == 0


@pytest.mark.parametrize("pairs", [[None], [("a",)], [("a", 1)], ["ab"], [("a", "\ud800")], [7]])
def test_pairs_that_are_refused(tiny, pairs):
    refused(lambda: compute_score(tiny, pairs), r"pairs\[0\]")


@pytest.mark.parametrize("ids", ["ab", [1, 2], {"a": 1, "b": 2}, None], ids=kind_of)
def test_ids_of_another_kind(index, ids):
    refused(lambda: index.rescore("fern", ["one", "two"], ids=ids), "`ids` must be a list")


@pytest.mark.parametrize("texts", ["one", None, [1], ["\ud800"]], ids=range(4))
def test_texts_of_another_kind(index, texts):
    refused(lambda: index.rescore("fern", texts), "texts")


@pytest.mark.parametrize("passages", [7, None, {"a": "text"}], ids=kind_of)
def test_passages_that_are_no_list(index, passages):
    refused(lambda: index.add(passages), "must be a list of passages")


def test_every_store_returns_the_same_metadata(tiny, tmp_path):
    """Tuples come back as lists, large integers exactly, and nothing is shared with the caller."""
    tags = ["a"]
    metadata = {
        "pair": (1, ("x", 2.5)),
        "tags": tags,
        "big": [2**53 + 1, 2**64 + 1, -(2**70), 10**300],
        "real": [1e308, 5e-324, -0.0, 0.1 + 0.2],
        "flags": [True, 1, 1.0, None],
        "in": {"t": ()},
    }
    expected = json.dumps({**metadata, "pair": [1, ["x", 2.5]], "in": {"t": []}})
    for place in (None, tmp_path / "kb"):
        tags[:] = ["a"]
        with M3Index.open(place, model=tiny) as index:
            index.add([Passage("p", "ferns", metadata)])
            tags.append("changed later")
            for found in (index.get(["p"])[0], index.search("ferns")[0].passage):
                assert json.dumps(found.metadata) == expected
            for where in ({"pair": 1}, {"big": 2**64}, {"big": float(2**53)}, {"in": 1}):
                assert index.count(where) == ("in" not in where), where


def test_the_documentation_has_all_limits():
    page = (Path(__file__).parents[2] / "docs" / "limits.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\d,.]+) \|", page, re.MULTILINE))
    defaults = {field.name: f"{getattr(DEFAULT_LIMITS, field.name):,}" for field in fields(Limits)}
    assert rows == {name: value.removesuffix(".0") for name, value in defaults.items()}


def test_an_index_has_limits_of_its_own(tiny, tmp_path):
    limits = Limits(query_characters=10, metadata_depth=2, results=5, filter_values=2)
    with M3Index.open(tmp_path / "kb", model=tiny, limits=limits) as index:
        index.add(["a fern"])
        with pytest.raises(InputError, match="metadata_depth"):
            index.add([Passage("deep", "x", {"a": [[[[1]]]]})])
        for refused in (
            lambda: index.search("more than ten characters"),
            lambda: index.search("a fern", 6),
            lambda: index.search("a fern", filter={"n": [1, 2, 3]}),
            lambda: index.count({"n": [1, 2, 3]}),
            lambda: index.delete(filter={"n": [1, 2, 3]}),
        ):
            with pytest.raises(InputError):
                refused()
        assert index.search("a fern", 5)[0].passage.text == "a fern"
