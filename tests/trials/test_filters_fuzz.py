"""Random filters: each is refused with m3rag's own error, or means what the documentation says.

`expected` is an evaluator of its own. It reads the dict that a user writes, not the tree.
"""

from __future__ import annotations

import datetime
import enum
import json
import math
import random
import string
from typing import Any

import numpy as np
import pytest

from m3rag.documents import Passage, as_passage
from m3rag.errors import InputError
from m3rag.stores.filters import And, Equals, In, Not, Or, Range, matches, parse_filter
from m3rag.stores.filters import filter_to_dict as to_dict
from tests.trials.record import SEED, record

FIELDS = [
    "a",
    "b",
    "n",
    "a.b",
    "",
    " ",
    "_p",
    "start",
    "id",
    "document_id",
    "日本",
    "x\ny",
    "a[0]",
    "tag",
    "\0",
]
TEXTS = ["", "es", "ES", "de", "1", "true", "\0true", "\0false", "null", "日本", "🌱", "e\u0301"]
INTEGERS = [0, 1, -1, 2, 3, 2**53, 2**53 + 1, -(2**53), 2**63, 2**64 + 1, -(2**70), 10**300]
FLOATS = [0.0, -0.0, 0.5, 1.0, 3.0, 1e308, -1e308, 5e-324, 1e16, 2.5, 0.1 + 0.2, 9007199254740992.0]
BOUNDS = ("gt", "gte", "lt", "lte")


def scalar(rng):
    listed = [rng.choice(TEXTS), rng.choice(INTEGERS), rng.choice(FLOATS)]
    return rng.choice([*listed, rng.random() < 0.5, rng.randint(-5, 5), rng.uniform(-3, 3)])


def number(rng):
    return rng.choice([rng.choice(INTEGERS), rng.choice(FLOATS), rng.randint(-5, 5)])


def value(rng, depth=0):
    """Return a value of metadata."""
    kind = rng.random()
    if kind < 0.6 or depth > 2:
        return rng.choice([scalar(rng), scalar(rng), None])
    if kind < 0.9:
        return [value(rng, depth + 1) for _ in range(rng.randint(0, 4))]
    return {rng.choice(FIELDS): value(rng, depth + 1) for _ in range(rng.randint(0, 3))}


def passages(rng, n):
    found = []
    for i in range(n):
        metadata = {rng.choice(FIELDS): value(rng) for _ in range(rng.randint(0, 7))}
        document = rng.choice([None, "es", "de", "1", ""])
        found.append(
            as_passage(Passage(rng.choice(["", "es", "1"]) + f"p{i}", "x", metadata, document))
        )
    return found


def path(rng):
    """Return the name of a field, some of them inside dicts."""
    parts = [rng.choice(FIELDS) for _ in range(rng.choice([1, 1, 1, 2, 2, 3]))]
    return rng.choice(["$id", "$document_id"]) if rng.random() < 0.05 else ".".join(parts)


def valid(rng, depth=0):
    """Return a filter that is right."""
    spec: dict[str, Any] = {}
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        kind = rng.random()
        if depth < 4 and kind < 0.3:
            operator = rng.choice(["$and", "$or"])
            spec[operator] = [valid(rng, depth + 1) for _ in range(rng.randint(1, 3))]
        elif depth < 4 and kind < 0.4:
            spec["$not"] = valid(rng, depth + 1)
        elif kind < 0.6:
            spec[path(rng)] = scalar(rng)
        elif kind < 0.8:
            spec[path(rng)] = [scalar(rng) for _ in range(rng.randint(0, 4))]
        elif kind < 0.9:
            operator = rng.choice(["exists", "ne", "nin", "prefix", "eq"])
            values = {"exists": rng.random() < 0.5, "prefix": rng.choice(TEXTS)[:1]}
            values["nin"] = [scalar(rng) for _ in range(rng.randint(0, 2))]
            spec[path(rng)] = {rng.choice(["", "$"]) + operator: values.get(operator, scalar(rng))}
        else:
            bounds = rng.sample(BOUNDS, rng.randint(1, 3))
            spec[path(rng)] = {bound: number(rng) for bound in bounds}
    return spec


def expected(spec, passage):
    """Return whether a passage meets a filter, by the sentences of the documentation."""
    return all(_entry(key, wanted, passage) for key, wanted in spec.items())


def _entry(key, wanted, passage):
    if key == "$and":
        return not [part for part in wanted if not expected(part, passage)]
    if key == "$or":
        return bool([part for part in wanted if expected(part, passage)])
    if key == "$not":
        return not expected(wanted, passage)
    elements = _elements(key, passage)
    if isinstance(wanted, dict):
        [name] = {operator.removeprefix("$") for operator in wanted} - {*BOUNDS} or {"range"}
        given = next(iter(wanted.values()))
        if name == "exists":
            return given == any(e not in (None, [], {}) for e in elements)
        if name == "prefix":
            return any(isinstance(e, str) and e[: len(given)] == given for e in elements)
        if name in ("eq", "ne", "nin"):
            choices = given if name == "nin" else [given]
            return (name == "eq") == any(_same(e, choice) for e in elements for choice in choices)
        return any(_number(e) and _inside(float(e), wanted) for e in elements)
    choices = wanted if isinstance(wanted, list) else [wanted]
    return any(_same(e, choice) for e in elements for choice in choices)


def _elements(key, passage):
    """Return the values of a field: the passage's own, and those at all paths of its name."""
    own = {"id": passage.id, "document_id": passage.document_id, "start": passage.start}
    if key.startswith("$"):
        return [own[key[1:]]]
    found = [own[key]] if key in own else []
    for name, value in _paths(passage.metadata, "", ""):
        if name == key:
            found += value if isinstance(value, list) else [value]
    return found


def _paths(metadata, before, top):
    for key, value in metadata.items():
        name = f"{before}{key}"
        yield name, value
        if not (top or name).startswith("_"):
            for part in value if isinstance(value, list) else [value]:
                if isinstance(part, dict):
                    yield from _paths(part, f"{name}.", top or key or "-")


def _number(value):
    return type(value) in (int, float)


def _inside(number, bounds):
    tests = {"gt": float.__gt__, "gte": float.__ge__, "lt": float.__lt__, "lte": float.__le__}
    return all(tests[bound](number, float(limit)) for bound, limit in bounds.items())


def _same(found, wanted):
    if _number(found) and _number(wanted):
        return float(found) == float(wanted)
    return type(found) is type(wanted) and type(found) in (str, bool) and found == wanted


class Text(enum.StrEnum):
    ES = "es"


class Broken:
    def __repr__(self):
        raise RuntimeError("not printable")


ODD = [
    None,
    math.nan,
    math.inf,
    10**309,
    10**4_000,
    -(10**5_000),
    "x" * 600,
    "x" * 2_000_000,
    "\ud800",
    b"bytes",
    3j,
    object,
    Broken(),
    Text.ES,
    np.float64(0.5),
    np.int64(3),
    np.zeros(3),
    np.array([None]),
    datetime.date(2026, 1, 1),
    range(3),
    parse_filter,
]


def junk(rng, depth=0):
    """Return anything: JSON-like, of other types, too deep, too large, containing itself."""
    kind = rng.randrange(14)
    if depth > 5 or kind < 3:
        return rng.choice([*ODD, scalar(rng)])
    if kind < 5:
        return [junk(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    if kind < 6:
        return tuple(junk(rng, depth + 1) for _ in range(rng.randint(0, 3)))
    if kind < 11:
        keys = [*FIELDS, "$and", "$or", "$not", "$nor", "$", 'q"', "b\\", "k" * 600, 3, None, (1,)]
        keys += [rng.choice(BOUNDS), "".join(rng.choices(string.printable, k=4)), "\udfff"]
        return {rng.choice(keys): junk(rng, depth + 1) for _ in range(rng.randint(0, 3))}
    if kind < 12:
        part = junk(rng, depth + 1)
        trees = [And((part,)), Or(part), Not(part), Equals(part, part), In("a", part)]
        return rng.choice([*trees, Range("a", gt=part)])
    return rng.choice([deep, cyclic, shared])(rng)


def deep(rng):
    spec = valid(rng)
    kind = rng.randrange(4)
    for _ in range(rng.choice([30, 40, 1_000, 20_000])):
        if kind == 0:
            spec = {"$not": spec}
        elif kind == 1:
            spec = {"$and": [spec]}
        elif kind == 2:
            spec = {"a": 1, "$or": [spec]}
        else:
            spec = Not(spec)
    return spec


def cyclic(rng):
    spec: dict[str, Any] = {"$and": []}
    spec["$and"] += [spec] * rng.randint(1, 3)
    return rng.choice([spec, {"$not": spec}, {"a": spec["$and"]}, {"a": spec}])


def shared(rng):
    """Return a small dict that stands for a tree of 10**20 conditions."""
    spec = {"a": 1}
    for _ in range(20):
        spec = {rng.choice(["$and", "$or"]): [spec] * 10}
    return spec


def check_junk(rng):
    """Parse junk; return whether it was accepted."""
    spec = junk(rng)
    try:
        tree = parse_filter(spec)
    except InputError as error:
        message = str(error)
    else:
        message = ""
    if message:
        assert len(message) < 1_500, len(message)
        assert "\n" not in message
        return False
    if tree is not None:
        json.dumps(to_dict(tree), allow_nan=False, ensure_ascii=False).encode()
        assert parse_filter(to_dict(tree)) == tree
        assert matches(tree, Passage("p", "x", {"a": 1})) in (True, False)
    return True


def check_valid(rng, documents):
    """Compare a filter's meaning on documents; return the number of comparisons."""
    spec = valid(rng)
    tree = parse_filter(spec)
    assert parse_filter(tree) is tree
    again = parse_filter(json.loads(json.dumps(to_dict(tree))))
    assert again == tree
    for passage in documents:
        assert matches(tree, passage) == expected(spec, passage), (spec, passage)
        assert matches(again, passage) == expected(spec, passage), (spec, passage)
    return len(documents)


def test_junk_is_refused_or_a_filter():
    rng = random.Random(SEED)
    accepted = sum(check_junk(rng) for _ in range(600))
    assert accepted > 20


def test_filters_mean_what_the_documentation_says():
    rng = random.Random(SEED)
    for _ in range(1_000):
        check_valid(rng, passages(rng, 5))


def test_every_store_finds_what_the_documentation_says(store, points_of):
    rng = random.Random(SEED)
    check_store(rng, store, points_of, documents=60, filters=200)


def check_store(rng, store, points_of, *, documents, filters):
    found = passages(rng, documents)
    store.add(points_of(found))
    for _ in range(filters):
        spec = valid(rng)
        tree = parse_filter(spec)
        ids = sorted(p.id for p in found if expected(spec, p))
        assert sorted(p.id for p in store.scan(tree, None, 10_000)[0]) == ids, spec
        assert store.count(tree) == len(ids), spec
    return documents * filters


@pytest.mark.trial
def test_many_filters():
    rng = random.Random(SEED)
    junk = sum(1 for _ in range(6_000) if check_junk(rng) is not None)
    right = sum(check_valid(rng, passages(rng, 5)) for _ in range(6_000))
    note = f"{junk:,} random structures, {right:,} comparisons"
    record("filters: refused, or as documented", tried=junk + right, note=note)


@pytest.mark.trial
def test_many_filters_in_a_store(store, points_of):
    tried = check_store(random.Random(SEED), store, points_of, documents=200, filters=300)
    record(f"filters in {type(store).__name__}", tried=tried)


@pytest.fixture
def points_of():
    from tests.stores.stores import make

    numbers = np.random.default_rng(SEED)
    return lambda found: make(numbers, found)


@pytest.fixture(params=["memory", "edge"])
def store(request, tmp_path):
    from tests.stores.stores import FACTORIES

    store = FACTORIES[request.param](tmp_path)
    yield store
    store.close()
