"""Filters: the meaning of the dict in every store, and the filters that are refused."""

import numpy as np
import pytest

from m3rag.documents import Passage
from m3rag.errors import InputError
from m3rag.limits import Limits
from m3rag.stores.filters import (
    And,
    Equals,
    Exists,
    In,
    Not,
    Or,
    Pattern,
    Range,
    filter_to_dict,
    matches,
    parse_filter,
)
from tests.stores.filter_checks import check_store

PASSAGES = [
    Passage("es", "x", {"lang": "es", "year": 2001, "ok": True}, "a.md"),
    Passage("de", "x", {"lang": "de", "year": 1999.5, "ok": False}, "a.md"),
    Passage("list", "x", {"lang": ["es", "fr"], "year": [1990, 2005], "ok": 1}, "b/ü.md"),
    Passage("bare", "x", {}),
    Passage("odd", "x", {"lang": None, "a.b": "dot", "sp ace": 1, "日本": "語", "year": "2001"}),
    Passage("nested", "x", {"a": {"b": "dot"}, "id": "mine", "year": True, "big": 2**53}),
    Passage("mixed", "x", {"lang": ["es", 3, True, None], "year": 2001.0}, "c.md"),
]
EVERYONE = " ".join(p.id for p in PASSAGES)

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
    ({"a.b": "dot"}, "odd nested"),
    ({"sp ace": 1}, "odd"),
    ({"日本": "語"}, "odd"),
    ({"id": "es"}, "es"),
    ({"id": ["es", "de", "nothing"]}, "es de"),
    ({"id": 7}, ""),
    ({"id": "mine"}, "nested"),  # that of the metadata, or the passage's own
    ({"id": "nested"}, "nested"),
    ({"$id": "mine"}, ""),
    ({"$id": ["nested", "es"]}, "es nested"),
    ({"$not": {"$id": "es"}}, "de list bare odd nested mixed"),
    ({"$document_id": "a.md"}, "es de"),
    ({"$not": {"id": "es"}}, "de list bare odd nested mixed"),
    ({"document_id": "a.md"}, "es de"),
    ({"document_id": ["b/ü.md", "c.md"]}, "list mixed"),
    ({"$not": {"document_id": "a.md"}}, "list bare odd nested mixed"),
    ({"big": 2**53}, "nested"),
    ({"big": 2**53 + 1}, "nested"),  # the same 64-bit float
    ({"big": {"gt": 2**53 - 1, "lt": 2.0**53 + 2}}, "nested"),
    ({"big": {"gt": 2**53}}, ""),
    ({"big": 10**300}, ""),
    ({"year": {"$gte": 2000}}, "es list mixed"),
    ({"year": {"$gt": 1999.5, "lt": 2001}}, ""),
    ({"year": {"between": [1999, 2001]}}, "es de mixed"),
    ({"lang": {"$eq": "es"}}, "es list mixed"),
    ({"lang": {"ne": "es"}}, "de bare odd nested"),
    ({"lang": {"in": ["de", "fr"]}}, "de list"),
    ({"lang": {"in": []}}, ""),
    ({"lang": {"$nin": ["es"]}}, "de bare odd nested"),
    ({"lang": {"nin": []}}, "es de list bare odd nested mixed"),
    ({"lang": {"ne": "es", "exists": True}}, "de"),
    ({"year": {"ne": 2001, "gte": 2000}}, "list"),
    ({"$not": [{"lang": "es"}, {"lang": "de"}]}, "bare odd nested"),
    ({"$not": [{"lang": "es"}]}, "de bare odd nested"),
    ({"lang": ("es", "de")}, "es de list mixed"),
    ({"lang": "\0true"}, ""),
    ({"ok": "\0true"}, ""),
    ({"": 1}, ""),
    ({}, "es de list bare odd nested mixed"),
]


@pytest.mark.parametrize(("spec", "expected"), CASES, ids=[str(spec) for spec, _ in CASES])
def test_what_a_filter_matches(spec, expected):
    tree = parse_filter(spec)
    found = [p.id for p in PASSAGES if tree is None or matches(tree, p)]
    assert found == expected.split()


def test_every_store_agrees(store, rng):
    check_store(store, rng, PASSAGES, CASES)


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
        ({"year": {"gte": "2026-02-30"}}, "or dates such as"),
        ({"year": {"gte": "2026-03-01", "lt": 2027}}, "numbers or dates, not both"),
        ({"year": {"between": 3}}, "between takes the lowest and the highest"),
        ({"year": {"between": [1, 2, 3]}}, "between takes"),
        ({"year": {"$from": 3}}, r"no operator '\$from' .*exists, prefix, text, like, ilike"),
        ({"author": {"name": "Ann"}}, r"write a path: 'author\.key'"),
        ({"lang": {"in": "es"}}, "in takes a list"),
        ({"lang": {"nin": None}}, "nin takes a list"),
        ({"lang": {"eq": None}}, r"use {'exists': False}"),
        ({"lang": {"exists": 1}}, "exists takes True or False"),
        ({"lang": {"prefix": 3}}, "prefix takes a string"),
        ({"lang": {"text": " "}}, "takes one or more words"),
        ({"lang": {"like": "x" * 8_193}}, "has 8,193 characters"),
        ({"$year": 3}, "no filter operator"),
        ({"$not": []}, "takes a list of one or more filters"),
        ({"$and": [{"a": {"$gte": 1, "ne": 2}}] * 4_000}, "more than 10,000 conditions"),
        ({"year": float("nan")}, "not a finite number"),
        ({"lang": None}, "strings, numbers or booleans"),
        ({"lang": [["es"]]}, "strings, numbers or booleans"),
        ({3: "x"}, "must be a string"),
        ({'a"b': "x"}, "quote or a backslash"),
        ({"$and": ({"a": 1} for _ in range(2))}, "takes a list"),
        ({"a": 10**4_000}, "an integer of about 4,001 digits is not a finite number"),
        ({"a": [1, -(10**5_000)]}, "fits no 64-bit float"),
        ({"a": {"gt": 10**309}}, "is not a finite number"),
        ({"a": {"lt": float("inf")}}, "inf is not a finite number"),
        ({"a": np.zeros(2)}, "of type ndarray"),
        ({"a": 3j}, "of type complex"),
        ({"a": "\ud800"}, "not valid Unicode"),
        ({"\ud800": 1}, "not valid Unicode"),
        ({"k" * 513: 1}, "has 513 characters"),
        ({"a": "v" * 1_000_001}, "has 1,000,001 characters"),
        ({"a": list(range(1_000_001))}, "more than 1,000,000 values"),
        ({"$or": [{"a": 1}] * 10_000}, "more than 10,000 conditions"),
        ({f"k{i}": 1 for i in range(10_001)}, "more than 10,000 conditions"),
        (And(()), "`And` takes a tuple of one or more"),
        (Or([Equals("a", 1)]), "`Or` takes a tuple"),
        (And(({"a": 1},)), "in place of a condition"),
        (Not(None), "None in place of a condition"),
        (Not(And((Equals("a", None),))), "values must be strings"),
        (Equals("a", [1]), "values must be strings"),
        (Equals("$a", 1), "no filter operator"),
        (Equals(3, 1), "must be a string"),
        (In("a", ["x"]), "`In` takes a tuple"),
        (In("a", (object(),)), "values must be strings"),
        (Range("a"), "one or more of the bounds"),
        (Range("a", gt=float("nan")), "not a finite number"),
        (Range("a", gt="1"), "bounds must be numbers"),
        (Pattern("a", "regex", "x"), "no pattern 'regex'"),
        (Pattern("a", "text", 3), "text takes a string"),
        (Exists("$a"), "no filter operator"),
        ({"$not": Equals("a", 10**400)}, "fits no 64-bit float"),
    ],
    ids=range(63),
)
def test_an_invalid_filter_is_refused(spec, message):
    with pytest.raises(InputError, match=message) as caught:
        parse_filter(spec)
    assert len(str(caught.value)) < 700


def repeated(wrap, times):
    spec = Equals("a", 1)
    for _ in range(times):
        spec = wrap(spec)
    return spec


WRAPS = {
    "not": lambda part: {"$not": part},
    "and": lambda part: {"$and": [part]},
    "or": lambda part: {"$or": ({"b": 2}, part)},
    "two": lambda part: {"b": 2, "$not": part},
    "tree": Not,
    "And": lambda part: And((part,)),
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_the_deepest_filter(wrap):
    deepest = 0
    for times in range(40):
        try:
            tree = parse_filter(repeated(wrap, times))
        except InputError:
            break
        deepest = times
        # What is accepted can be sent to the engine, whose parser has the same limits.
        assert parse_filter(filter_to_dict(tree)) == tree
        assert matches(tree, Passage("p", "x", {"a": 1, "b": 2})) in (True, False)
    assert deepest in (16, 31, 32)
    for times in (deepest + 1, 1_000, 100_000):
        with pytest.raises(InputError, match="more than 32 deep"):
            parse_filter(repeated(wrap, times))


@pytest.mark.parametrize("wrap", [Not, WRAPS["And"]])
def test_a_deep_tree_that_was_not_checked(wrap):
    tree = repeated(wrap, 100_000)
    for use in (filter_to_dict, lambda tree: matches(tree, PASSAGES[0])):
        with pytest.raises(InputError, match="nested too deep"):
            use(tree)


def test_the_limits_are_a_parameter():
    limits = Limits(filter_depth=1, filter_values=2, key_characters=3)
    assert parse_filter({"$not": {"abc": [1, 2]}}, limits) == Not(In("abc", (1, 2)))
    for spec in ({"$not": {"$not": {"a": 1}}}, {"a": [1, 2, 3]}, {"abcd": 1}):
        with pytest.raises(InputError, match="Limits"):
            parse_filter(spec, limits)


def test_subclasses_become_plain_values():
    tree = parse_filter({"a": np.str_("x"), "b": [np.float64(1)], "c": {"gt": np.float32(2)}})
    assert tree == And((Equals("a", "x"), In("b", (1.0,)), Range("c", gt=2.0)))
    assert type(tree.parts[0].value) is str
    assert type(tree.parts[1].values[0]) is float


def test_many_values_are_looked_up_at_once():
    """A loop over them would take minutes."""
    tree = parse_filter({"id": [f"p{i}" for i in range(100_000)]})
    found = [Passage(f"p{i}", "x") for i in range(90_000, 110_000)]
    assert sum(matches(tree, passage) for passage in found) == 10_000
