"""Filters: the meaning of the dict in every store, and the filters that are refused."""

import pytest

from m3rag.documents import Passage
from m3rag.errors import InputError
from m3rag.stores.filters import (
    And,
    Equals,
    In,
    Not,
    Or,
    Range,
    filter_to_dict,
    matches,
    parse_filter,
)
from tests.stores.stores import make

PASSAGES = [
    Passage("es", "x", {"lang": "es", "year": 2001, "ok": True}, "a.md"),
    Passage("de", "x", {"lang": "de", "year": 1999.5, "ok": False}, "a.md"),
    Passage("list", "x", {"lang": ["es", "fr"], "year": [1990, 2005], "ok": 1}, "b/ü.md"),
    Passage("bare", "x", {}),
    Passage("odd", "x", {"lang": None, "a.b": "dot", "sp ace": 1, "日本": "語", "year": "2001"}),
    Passage("nested", "x", {"a": {"b": "dot"}, "id": "mine", "year": True, "big": 2**53}),
    Passage("mixed", "x", {"lang": ["es", 3, True, None], "year": 2001.0}, "c.md"),
]

CASES = [
    ({"lang": "es"}, "es list mixed"),
    ({"lang": "ES"}, ""),
    ({"lang": ["de", "fr"]}, "de list"),
    ({"lang": []}, ""),
    ({"lang": 3}, "mixed"),
    ({"lang": ["de", 3]}, "de mixed"),
    ({"year": 2001}, "es mixed"),
    ({"year": 2001.0}, "es mixed"),
    ({"year": "2001"}, "odd"),
    ({"year": True}, "nested"),
    ({"ok": True}, "es"),
    ({"ok": 1}, "list"),
    ({"ok": [True, False]}, "es de"),
    ({"year": {"gte": 2000}}, "es list mixed"),
    ({"year": {"gt": 1999.5, "lt": 2001}}, ""),  # no element of [1990, 2005] is within both
    ({"year": {"gte": 1999.5, "lte": 2001}}, "es de mixed"),
    ({"year": {"gt": 2001}}, "list"),
    ({"ok": {"gte": 0}}, "list"),
    ({"lang": "es", "year": {"lt": 2003}}, "es list mixed"),
    ({"$and": [{"lang": "es"}, {"ok": True}]}, "es"),
    ({"$or": [{"lang": "de"}, {"year": {"gt": 2002}}]}, "de list"),
    ({"$not": {"lang": "es"}}, "de bare odd nested"),
    ({"$not": {"missing": 1}}, "es de list bare odd nested mixed"),
    ({"$not": {"$or": [{"lang": "es"}, {"lang": "de"}]}}, "bare odd nested"),
    ({"lang": "es", "$not": {"ok": True}}, "list mixed"),
    ({"a.b": "dot"}, "odd"),
    ({"sp ace": 1}, "odd"),
    ({"日本": "語"}, "odd"),
    ({"id": "es"}, "es"),
    ({"id": ["es", "de", "nothing"]}, "es de"),
    ({"id": 7}, ""),
    ({"id": "mine"}, ""),  # the passage's own id, not its metadata's
    ({"$not": {"id": "es"}}, "de list bare odd nested mixed"),
    ({"document_id": "a.md"}, "es de"),
    ({"document_id": ["b/ü.md", "c.md"]}, "list mixed"),
    ({"$not": {"document_id": "a.md"}}, "list bare odd nested mixed"),
    ({"big": 2**53}, "nested"),
    ({}, "es de list bare odd nested mixed"),
]


@pytest.fixture(scope="module")
def by_id():
    return {p.id: p for p in PASSAGES}


@pytest.mark.parametrize(("spec", "expected"), CASES, ids=[str(spec) for spec, _ in CASES])
def test_what_a_filter_matches(spec, expected):
    tree = parse_filter(spec)
    found = [p.id for p in PASSAGES if tree is None or matches(tree, p)]
    assert found == expected.split()


def test_every_store_agrees(store, rng):
    store.add(make(rng, PASSAGES))
    for spec, expected in CASES:
        tree = parse_filter(spec)
        found = {p.id for p in store.scan(tree, None, 100)[0]}
        assert found == set(expected.split()), spec
        assert store.count(tree) == len(found), spec


@pytest.mark.parametrize(("spec", "expected"), CASES, ids=[str(spec) for spec, _ in CASES])
def test_the_dict_of_a_filter_parses_to_the_same_filter(spec, expected):
    tree = parse_filter(spec)
    if tree is not None:
        assert parse_filter(filter_to_dict(tree)) == tree


def test_a_tree_is_returned_unchanged():
    tree = And((Equals("a", 1), Or((In("b", ("x", "y")), Not(Range("c", gte=1))))))
    assert parse_filter(tree) is tree
    assert parse_filter(filter_to_dict(tree)) == tree


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("lang = es", "A filter must be a dict"),
        ({"$nor": [{"a": 1}]}, r"\$and, \$or, \$not"),
        ({"$and": {"a": 1}}, "takes a list"),
        ({"$or": []}, "takes a list of one or more filters"),
        ({"$or": [{}]}, "filters with a condition"),
        ({"$not": {}}, "filters with a condition"),
        ({"year": {"from": 3}}, "gt, gte, lt, lte"),
        ({"year": {}}, "gt, gte, lt, lte"),
        ({"year": {"gte": "2000"}}, "bounds must be numbers"),
        ({"year": {"gte": True}}, "bounds must be numbers"),
        ({"year": {"gte": None}}, "None"),
        ({"year": float("nan")}, "not a finite number"),
        ({"lang": None}, "strings, numbers or booleans"),
        ({"lang": [["es"]]}, "strings, numbers or booleans"),
        ({3: "x"}, "must be a string"),
        ({'a"b': "x"}, "quote or a backslash"),
    ],
)
def test_an_invalid_filter_is_refused(spec, message):
    with pytest.raises(InputError, match=message):
        parse_filter(spec)
