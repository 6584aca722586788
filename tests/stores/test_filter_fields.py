"""Fields inside dicts, the passage's own fields, dates, and patterns of strings, in every store."""

from datetime import UTC, date, datetime
from uuid import UUID

import pytest

from m3rag.documents import Passage, as_passage
from m3rag.stores.edge.store import EdgeStore
from m3rag.stores.filters import Pattern, Range, matches, parse_filter
from m3rag.stores.instants import instant, interval
from m3rag.stores.patterns import matcher
from tests.stores.filter_checks import check_store, searched
from tests.stores.stores import make

LONG = "Soil and water. " * 40  # longer than what the index of fields keeps

PASSAGES = [
    Passage(
        "ann",
        "x",
        {"author": {"name": "Ann", "age": 40}, "tags": ["a"], "title": "Wet soil", "on": True},
        "docs/a.md",
        0,
        10,
        ("Plants", "Soil"),
    ),
    Passage(
        "bob",
        "x",
        {"author": {"name": "Bob", "age": None}, "tags": [], "title": "SOILS", "start": "intro"},
        "docs/b.md",
        10,
        30,
    ),
    Passage("two", "x", {"author": [{"name": "Ann"}, {"name": "Cy"}], "tags": None, "n": [[1]]}),
    Passage("odd", "x", {"author.name": "Dot", "author": {}, "_node": {"name": "Eve"}, "end": 5}),
    Passage("int", "x", {"document_id": 7, "id": "ann", "title": LONG, "headings": ["Soil"]}),
    Passage("day", "x", {"when": date(2026, 3, 1), "title": "\0\0", "tags": [{}]}, "2026-03-02"),
    Passage("utc", "x", {"when": ["?", datetime(2026, 3, 1, 23, 30, tzinfo=UTC)]}),
    Passage("est", "x", {"when": "2026-03-01 20:00-05:00", "title": "植物需要水。温室"}),
    Passage("naive", "x", {"when": datetime(1969, 12, 31, 8), "title": "ein C++-Buch: 50% _off_"}),
    Passage("uuid", "x", {"when": UUID(int=1), "title": "हिन्दी किताब", "a": {"b": {"c": False}}}),
]
EVERYONE = [p.id for p in PASSAGES]


def but(*ids):
    return " ".join(i for i in EVERYONE if i not in ids)


CASES = [
    ({"author.name": "Ann"}, "ann two"),
    ({"author.name": ["Bob", "Dot"]}, "bob odd"),
    ({"author.name": {"ne": "Ann"}}, but("ann", "two")),
    ({"author.age": {"gte": 40}}, "ann"),
    ({"author": "Ann"}, ""),
    ({"author.missing": 1}, ""),
    ({"a.b.c": False}, "uuid"),
    ({"a.b": False}, ""),
    ({"_node.name": "Eve"}, ""),
    ({"_node": {"exists": True}}, "odd"),
    ({"author": {"exists": True}}, "ann bob two"),
    ({"author.name": {"exists": True}}, "ann bob two odd"),
    ({"author.age": {"exists": True}}, "ann"),
    ({"tags": {"exists": True}}, "ann"),
    ({"tags": {"$exists": False}}, but("ann")),
    ({"n": {"exists": True}}, "two"),
    ({"n": 1}, ""),
    ({"on": True}, "ann"),
    ({"on": 1}, ""),
    ({"id": "ann"}, "ann int"),
    ({"$id": "ann"}, "ann"),
    ({"id": {"exists": False}}, ""),
    ({"id": {"prefix": "u"}}, "utc uuid"),
    ({"$id": {"like": "%a%"}}, "ann day naive"),
    ({"document_id": 7}, "int"),
    ({"document_id": "docs/a.md"}, "ann"),
    ({"document_id": ["docs/a.md", 7]}, "ann int"),
    ({"$document_id": [7, "docs/a.md"]}, "ann"),
    ({"document_id": {"exists": True}}, "ann bob int day"),
    ({"$document_id": {"exists": False}}, but("ann", "bob", "day")),
    ({"document_id": {"prefix": "docs/"}}, "ann bob"),
    ({"document_id": {"gte": 7}}, "int"),
    ({"document_id": {"gt": "2026-03-01"}}, "day"),
    ({"start": 10}, "bob"),
    ({"start": {"lt": 10}}, "ann"),
    ({"start": "intro"}, "bob"),
    ({"end": {"lte": 10}}, "ann odd"),
    ({"headings": "Soil"}, "ann int"),
    ({"headings": {"text": "plants"}}, "ann"),
    ({"when": "2026-03-01"}, "day"),
    ({"when": date(2026, 3, 1)}, "day"),
    ({"when": {"gte": "2026-03-01"}}, "day utc est"),
    ({"when": {"lte": "2026-03-01"}}, "day utc naive"),
    ({"when": {"gt": "2026-03-01"}}, "est"),
    ({"when": {"lt": "2026-03-01"}}, "naive"),
    ({"when": {"between": ["2026-03-01", "2026-03-01"]}}, "day utc"),
    ({"when": {"gte": "2026-03-01T23:30:00Z"}}, "utc est"),
    ({"when": {"gt": "2026-03-01T23:30:00Z"}}, "est"),
    ({"when": {"gte": datetime(2026, 3, 2, 1, tzinfo=UTC)}}, "est"),
    ({"when": {"lt": "1969-12-31T09:00+00:30"}}, "naive"),
    ({"when": {"gte": 0}}, ""),
    ({"when": {"prefix": "2026-03"}}, "day utc est"),
    ({"title": {"prefix": "Wet"}}, "ann"),
    ({"title": {"prefix": "wet"}}, ""),
    ({"title": {"prefix": "Soil and"}}, "int"),
    ({"title": {"prefix": ""}}, "ann bob int day est naive uuid"),
    ({"title": {"prefix": "\0"}}, "day"),
    ({"title": {"text": "soil"}}, "ann int"),
    ({"title": {"text": "WET   soil"}}, "ann"),
    ({"title": {"text": "soil wet"}}, ""),
    ({"title": {"text": "water. soil"}}, "int"),
    ({"title": {"text": "需要"}}, "est"),
    ({"title": {"text": "हिन"}}, ""),
    ({"title": {"text": "किताब"}}, "uuid"),
    ({"title": {"text": "c++"}}, "naive"),
    ({"title": {"like": "%soil"}}, "ann"),
    ({"title": {"ilike": "%SOIL%"}}, "ann bob int"),
    ({"title": {"$like": "W_t soil"}}, "ann"),
    ({"title": {"like": r"%50\% \_off\_"}}, "naive"),
    ({"title": {"like": r"%\_o_f\_"}}, "naive"),
    ({"title": {"like": "Soil%water. "}}, "int"),
    ({"$not": {"title": {"text": "soil"}}}, but("ann", "int")),
    ({"on": {"like": "%"}}, ""),
    ({"$or": [{"author.name": {"like": "C_"}}, {"title": {"text": "wet"}}]}, "ann two"),
]
IDS = [str(spec) for spec, _ in CASES]


@pytest.mark.parametrize(("spec", "expected"), CASES, ids=IDS)
def test_what_a_filter_matches(spec, expected):
    tree = parse_filter(spec)
    assert [p.id for p in map(as_passage, PASSAGES) if matches(tree, p)] == expected.split()


def test_every_store_agrees(store, rng):
    check_store(store, rng, [as_passage(p) for p in PASSAGES], CASES)


def test_a_folder_without_its_engine_agrees(make_store, rng):
    store = make_store()
    check_store(store, rng, [as_passage(p) for p in PASSAGES], [])
    if isinstance(store, EdgeStore):
        store._searcher._engine = None
    for spec, expected in CASES:
        assert searched(store, rng, parse_filter(spec)) == set(expected.split()), spec


def test_replaced_and_deleted_passages_are_not_found_by_old_values(store, rng):
    store.add(make(rng, [Passage("p", "x", {"a": {"b": "old"}, "when": "2020-01-01"})]))
    store.add(make(rng, [Passage("p", "x", {"a": {"b": "new"}})]))
    for spec in ({"a.b": "old"}, {"when": {"exists": True}}, {"when": {"lt": "2021-01-01"}}):
        assert searched(store, rng, parse_filter(spec)) == set()
        assert store.count(parse_filter(spec)) == 0
    assert store.delete_where(parse_filter({"a.b": {"prefix": "n"}})) == 1
    assert store.count() == 0


def test_many_fields_of_deep_metadata_are_left_out(store, rng):
    deep: dict[str, object] = {"x": 1}
    for _ in range(30):
        deep = {"k" * 500: deep, "y": 2}
    store.add(make(rng, [as_passage(Passage("p", "x", {"deep": deep, 'q"': {"z": 3}}))]))
    assert store.count(parse_filter({"deep.y": 2})) == 1
    assert store.count(parse_filter({"z": 3})) == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:01Z", 1),
        ("1970-01-01t01:00:01+01:00", 1),
        ("1970-01-01 00:00:01.5", 1.5),
        ("1969-12-31T23:59", -60),
        ("0001-01-01", -62_135_596_800),
        ("9999-12-31", 253_402_214_400),
        ("1970-02-30", None),
        ("1970-1-1", None),
        ("19700101", None),
        ("1970", None),
        ("1970-W01-1", None),
        ("1970-01-01T25:00", None),
        ("on 1970-01-01", None),
        ("１９７０-01-01", None),
        ("", None),
    ],
)
def test_instants(text, seconds):
    assert instant(text) == (None if seconds is None else seconds * 1_000_000)


def test_a_date_as_a_bound_is_the_whole_day():
    day = 86_400_000_000
    assert interval({"gte": "1970-01-02", "lte": "1970-01-02"}) == (day, 2 * day - 1)
    assert interval({"gt": "1970-01-02"})[0] == interval({"gte": "1970-01-03"})[0] == 2 * day
    assert interval({"lt": "1970-01-02"})[1] == interval({"lte": "1970-01-01"})[1] == day - 1
    assert interval({"lte": "9999-12-31"})[1] > interval({"lt": "9999-12-31"})[1]


@pytest.mark.parametrize(
    ("kind", "text", "value", "expected"),
    [
        ("text", "fern", "Ferns like shade.", False),
        ("text", "ferns", "Ferns like shade.", True),
        ("text", "fern", "tree-fern", True),
        ("text", "fern", "fern2", False),
        ("text", "fern", "ferns and a fern", True),
        ("text", "a a", "a a a", True),
        ("text", "straße", "STRASSE", True),
        ("text", "ｆｅｒｎ", "a fern", True),
        ("text", "é", "cafe\u0301", False),
        ("text", "café", "cafe\u0301 au lait", True),
        ("text", "iphone", "iPhone手机", True),
        ("text", "手机", "iPhone手机壳", True),
        ("text", "น้ำ", "ต้นไม้ต้องการน้ำมาก", True),
        ("text", "물", "물은 중요하다", False),
        ("text", "3.5", "pH 3.5", True),
        ("like", "%", "", True),
        ("like", "", "", True),
        ("like", "", "a", False),
        ("like", "a%a", "a", False),
        ("like", "%a%a%", "ba", False),
        ("like", "_", "\n", True),
        ("like", "a\\", "a\\", True),
        ("like", "A%", "abc", False),
        ("ilike", "A%", "abc", True),
        ("ilike", "stra_e", "STRASSE", False),
        ("prefix", "ab", "abc", True),
    ],
)
def test_patterns(kind, text, value, expected):
    assert matcher(kind, text)(value) is expected


def test_a_pattern_takes_linear_time():
    assert not matcher("like", "%a" * 2_000 + "b")("a" * 200_000)


def test_a_tree_of_dates_is_checked_and_stays():
    tree = Range("when", gte="2026-03-01")
    assert parse_filter(tree) is tree
    assert parse_filter({"when": {"gte": date(2026, 3, 1)}}) == tree
    assert parse_filter({"a": {"text": "x"}}) == Pattern("a", "text", "x")
