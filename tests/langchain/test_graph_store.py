"""The LangGraph store: the same operations on it and on LangGraph's own `InMemoryStore`."""

import asyncio
import pickle  # noqa: TID251  # of a reference to a folder
import random
import time
from copy import deepcopy
from typing import Any

import pytest
from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore

from m3rag import M3Index, Passage
from m3rag.errors import ArgumentError, InputError
from m3rag.langchain import M3Store, M3VectorStore

ANN = ("users", "ann")
NAMESPACES = [ANN, ("users", "bob"), ("users", "ann", "plants"), ("users1",), ("docs", "v1")]
VALUES = [
    {"text": "Ferns like shade.", "year": 2019, "author": {"name": "Ann", "born": 1970}},
    {"text": "Cacti like sun.", "year": 2024, "done": True, "author": {"name": "Bob"}},
    {"text": "Los helechos prefieren la sombra.", "lang": "es", "score": 4.5, "none": None},
    {"a.b": 1, "list": [1, "x", {"k": None}], "empty": {}, "nothing": [], "text": ""},
    {},
]
FILTERS: list[tuple[Any, str]] = [  # with the values that match, by their position
    (None, "01234"),
    ({}, "01234"),
    ({"year": 2019}, "0"),
    ({"year": {"$ne": 2019}}, "1234"),
    ({"year": {"$eq": 2024}, "done": True}, "1"),
    ({"author": {"name": "Ann"}}, "0"),
    ({"text": "Cacti like sun."}, "1"),
    ({"lang": None}, "0134"),
    ({"lang": {"$ne": None}}, "2"),
    ({"a.b": 1}, "3"),
    ({"missing": 1}, ""),
    ({"score": 4.5}, "2"),
    # LangGraph's store in memory raises an error for a missing value:
    ({"year": {"$gt": 2018, "$lt": 2024}}, "0"),
    ({"year": {"$gte": 2024}}, "1"),
    ({"year": {"$lte": 2019}}, "0"),
    ({"author": {"name": "Ann", "born": {"$lt": 1980}}}, "0"),
    ({"author": {"born": {"$lt": 1970}}}, ""),
]
SAFE = 12  # of them


@pytest.fixture(params=["memory", "folder"])
def store(request, tiny, tmp_path):
    path = None if request.param == "memory" else tmp_path / "memories"
    with M3Store(model=tiny, path=path) as store:
        yield store


def told(result):
    """Return a result of an operation without times, and lists of items in any order."""
    if isinstance(result, list):
        shown = [told(one) for one in result]
        return shown if all(isinstance(one, tuple) for one in result) else sorted(shown, key=str)
    if result is None or isinstance(result, tuple):
        return result
    return (result.namespace, result.key, result.value)


def random_op(chance):
    namespace = chance.choice(NAMESPACES)
    kind = chance.randrange(8)
    if kind < 4:
        value = None if chance.random() < 0.2 else deepcopy(chance.choice(VALUES))
        index = chance.choice([None, False, ["text"], ["text", "list[*]"]])
        return PutOp(namespace, chance.choice("abc"), value, index)
    if kind == 4:
        return GetOp(namespace, chance.choice("abc"))
    if kind < 7:
        # It returns all that match: the order without a query is each store's own.
        prefix = namespace[: chance.randrange(len(namespace) + 1)]
        return SearchOp(prefix, chance.choice(FILTERS[:SAFE])[0], 100)
    conditions = chance.choice(
        [
            None,
            (MatchCondition("prefix", ("users",)),),
            (MatchCondition("prefix", ("*", "ann")),),
            (MatchCondition("suffix", ("v1",)),),
            (MatchCondition("suffix", ("ann", "*")), MatchCondition("prefix", ("users",))),
        ]
    )
    return ListNamespacesOp(conditions, chance.choice([None, 1, 2]), 100)


class Oracle(InMemoryStore):
    """LangGraph's store in memory, which lists namespaces of which every item is deleted."""

    def _handle_list_namespaces(self, op):
        for namespace in [n for n, items in self._data.items() if not items]:
            del self._data[namespace]
        return super()._handle_list_namespaces(op)


def test_random_operations(store):
    chance, oracle = random.Random(7), Oracle()
    for _ in range(60):
        ops = [random_op(chance) for _ in range(chance.randrange(1, 5))]
        expected = oracle.batch(deepcopy(ops))
        assert [told(r) for r in store.batch(ops)] == [told(r) for r in expected], ops


async def test_every_filter(store):
    oracle = InMemoryStore()
    puts = [PutOp(ANN, str(n), value) for n, value in enumerate(VALUES)]
    await store.abatch(puts)
    oracle.batch(deepcopy(puts))
    for at, (where, expected) in enumerate(FILTERS):
        if at < SAFE:
            assert keys(oracle.search(ANN, filter=where)) == expected, where
        assert keys(store.search(ANN, filter=where)) == expected, where
        assert keys(await store.asearch(("users",), filter=where)) == expected, where
        asked = store.search(ANN, query="Which plants?", filter=where)
        assert keys(asked) == expected.replace("4", ""), where  # {} has no text


def keys(items):
    return "".join(sorted(item.key for item in items))


def test_more_filters_and_wrong_ones(store):
    store.put(ANN, "a", {"tags": ["x", "y"], "year": 1})
    store.put(ANN, "b", {"tags": ["z"], "year": 2})
    found: list[Any] = [
        {"tags": "x"},
        {"tags": {"$in": ["x", "q"]}},
        {"$or": [{"tags": "x"}, {"year": 7}]},
        {"$not": {"year": 2}},
        {"$and": [{"year": 1}, {"tags": "y"}]},
    ]
    for where in found:
        assert [item.key for item in store.search(ANN, filter=where)] == ["a"], where
    refused: list[Any] = [
        ({"tags": ["x", "y"]}, r"write {\"\$in\": \['x', 'y'\]}"),
        ({"year": {"$near": 1}}, "near"),
        (["year"], "must be a dict"),
    ]
    for where, message in refused:
        with pytest.raises(InputError, match=message):
            store.search(ANN, filter=where)


@pytest.mark.parametrize("limit", [1, 2, 3, 10])
@pytest.mark.parametrize("query", [None, "", "number"])
def test_pages(store, limit, query):
    for number in range(5):
        store.put(ANN, str(number), {"text": f"The number {number}"})
    pages = [store.search(ANN, query=query, limit=limit, offset=at) for at in range(0, 6, limit)]
    found = [item.key for page in pages for item in page]
    assert len(found) == len(set(found)) == 5
    scores = [item.score for page in pages for item in page]
    if query:
        assert scores == sorted(scores, reverse=True)
    else:
        assert found == ["4", "3", "2", "1", "0"]  # the last changed first
        assert scores == [None] * 5


def test_the_times_of_items(store):
    store.put(ANN, "a", {"n": 1})
    first = store.get(ANN, "a")
    store.put(ANN, "a", {"n": 2})
    second = store.get(ANN, "a")
    assert first.created_at == first.updated_at == second.created_at < second.updated_at
    assert second.updated_at.utcoffset().total_seconds() == 0


def test_what_is_encoded(fresh):
    with M3Store(model=fresh, fields=["text", "notes[*].body"]) as store:
        value = {"text": "Ferns.", "notes": [{"body": "Shade."}, {"body": "Water."}], "year": 1}
        store.put(ANN, "a", value)
        assert sorted(p.text for p in store.index.passages()) == ["Ferns.", "Shade.", "Water."]
        before = fresh.encoded
        store.put(ANN, "a", {**value, "year": 2})
        assert fresh.encoded == before  # the same texts
        (found,) = store.search(ANN, query="Water.")
        assert (found.key, found.value["year"]) == ("a", 2)
        store.put(ANN, "a", {"text": "Ferns."})
        assert [p.text for p in store.index.passages()] == ["Ferns."]


def test_fields_of_one_item(store):
    value = {"text": "A pump waters the plants.", "secret": "The cactus likes the sun."}
    store.put(ANN, "all", value)
    store.put(ANN, "text", value, index=["text"])
    store.put(ANN, "none", value, index=False)
    store.put(ANN, "missing", value, index=["other"])
    found = store.search(ANN, query="a cactus in the sun")
    assert [item.key for item in found] == ["all", "text"]
    assert found[0].score > found[1].score
    assert {item.key for item in store.search(ANN)} == {"all", "text", "none", "missing"}
    assert store.get(ANN, "none").value == value


def test_an_item_has_the_score_of_its_best_text(store):
    store.put(ANN, "a", {"x": "A cactus likes sun.", "y": "The pump is new."}, index=["x", "y"])
    store.put(ANN, "b", {"x": "Ferns like shade.", "y": "It rains."}, index=["x", "y"])
    assert [i.key for i in store.search(ANN, query="The pump is new.")] == ["a", "b"]
    assert [i.key for i in store.search(ANN, query="Ferns like shade.")] == ["b", "a"]


def test_the_head_says_what_an_interrupted_update_left(store):
    store.put(ANN, "a", {"x": "Ferns.", "y": "Shade."}, index=["x", "y"])
    (old,) = store.index.passages({"part": 1})
    store.put(ANN, "a", {"x": "Cacti."}, index=["x"])
    store.index.add([old])  # as if the update had not come to an end
    (found,) = store.search(ANN, query="Shade.")
    assert found.value == {"x": "Cacti."}
    store.put(ANN, "a", {"x": "Cacti."}, index=["x"])
    assert store.index.count() == 1


async def test_threads_and_an_event_loop(store):
    """Every item is one of those that were put, with its own texts and no others."""

    def put(number):
        chance = random.Random(number)
        for n in range(6):
            texts = [f"note {number} {n} {part}" for part in range(chance.randrange(1, 4))]
            store.put(ANN, chance.choice("abc"), {"texts": texts}, index=["texts[*]"], ttl=9)
            store.search(ANN, query=texts[0], limit=3)

    async def read():
        for _ in range(20):
            for key in "abc":
                await store.aget(ANN, key)

    await asyncio.gather(read(), *(asyncio.to_thread(put, number) for number in range(4)))
    items = {item.key: item.value["texts"] for item in store.search(ANN)}
    for key, texts in items.items():
        stored = store.index.passages({"key": key})
        assert sorted(passage.text for passage in stored) == texts


def age(store, key):
    """Let the time of an item be over."""
    store.index.update_metadata({"expires": time.time() - 1}, filter={"key": key})


def test_expired_items(store):
    for key, ttl in (("old", 5), ("new", 5), ("kept", None)):
        store.put(ANN, key, {"text": key}, ttl=ttl)
    age(store, "old")
    assert store.get(ANN, "old") is None
    assert keys(store.search(ANN)) == keys(store.search(ANN, query="old")) == "keptnew"
    assert store.index.count() == 3
    assert store.sweep_ttl() == 1
    assert store.sweep_ttl() == 0
    assert store.index.count() == 2
    age(store, "new")
    store.delete(ANN, "kept")
    assert store.list_namespaces() == []
    store.put(ANN, "new", {"text": "again"})  # without an end
    assert store.get(ANN, "new").value == {"text": "again"}
    assert store.sweep_ttl() == 0


def expires(store):
    (passage,) = store.index.passages()
    return passage.metadata["expires"]


def test_reading_lets_the_time_begin_again(store):
    store.put(ANN, "a", {"text": "Ferns."}, ttl=5)
    last = expires(store)
    assert last == pytest.approx(time.time() + 300, abs=30)
    for read in (
        lambda **how: store.get(ANN, "a", **how),
        lambda **how: store.search(ANN, **how),
        lambda **how: store.search(ANN, query="ferns", **how),
    ):
        read(refresh_ttl=False)
        assert expires(store) == last
        read()
        assert expires(store) > last
        last = expires(store)
    age(store, "a")
    assert store.get(ANN, "a") is None  # and it stays so
    assert expires(store) < time.time()


def test_settings_of_expiry(tiny):
    ttl = {"default_ttl": 5, "refresh_on_read": False, "sweep_interval_minutes": 1}
    store = M3Store(model=tiny, ttl=ttl)
    store.put(ANN, "a", {"text": "Ferns."})
    last = expires(store)
    assert store.get(ANN, "a").key == "a"
    assert expires(store) == last
    age(store, "a")
    store.put(ANN, "b", {})
    assert store.index.count() == 2  # the sweep was less than a minute ago
    lasting = M3Store(store.index, ttl={"omit_expired": False})
    assert lasting.get(ANN, "a", refresh_ttl=False).key == "a"
    assert {item.key for item in lasting.search(ANN, refresh_ttl=False)} == {"a", "b"}
    M3Store(store.index, ttl=ttl).put(ANN, "c", {}, ttl=None)
    assert {p.metadata["key"] for p in store.index.passages()} == {"b", "c"}


async def test_another_session(tiny, tmp_path):
    path = tmp_path / "memories"
    with M3Store(model=tiny, path=path) as store:
        await store.aput(ANN, "a", {"text": "Ferns like shade."})
    with M3Store(path=path) as store:  # the folder names its model
        assert store.get(ANN, "a").value == {"text": "Ferns like shade."}
        assert (await store.asearch(ANN, query="ferns"))[0].key == "a"
        again = pickle.loads(pickle.dumps(store))
        assert again.get(ANN, "a").key == "a"
        assert deepcopy(store) is store
        assert repr(store).startswith("M3Store(M3Index(")


def test_documents_beside_items(tiny):
    index = M3Index.open(model=tiny)
    index.add([Passage("a", "Ferns like shade.", {"expires": 0})])
    store = M3Store(index)
    store.put(ANN, "a", {"text": "Ferns."})
    assert [item.key for item in store.search((), query="ferns")] == ["a"]
    assert len(store.search(())) == len(store.list_namespaces()) == 1
    assert store.sweep_ttl() == 0
    with pytest.raises(InputError, match="has no base filter"):
        M3Store(M3VectorStore(index, base_filter={"user": "ann"}))


def test_wrong_arguments(tiny):
    with pytest.raises(ArgumentError, match="Did you mean `path`"):
        M3Store(model=tiny, persist_directory="kb")
    with pytest.raises(ArgumentError, match="Did you mean `default_ttl`"):
        M3Store(model=tiny, ttl={"default": 1})
    for settings, message in [
        ({"fields": "text"}, "`fields` must be a list"),
        ({"ttl": {"default_ttl": 0}}, "`default_ttl` must be a number of minutes"),
        ({"weights": "nope"}, "nope"),
        ({"min_score": "calibrated"}, "m3rag tune"),
    ]:
        with pytest.raises(InputError, match=message):
            M3Store(model=tiny, **settings)
    store = M3Store(model=tiny, min_score=2.0)
    for namespace in [(), ("a.b",), ("",), (1,), ("langgraph", "a")]:
        with pytest.raises(InvalidNamespaceError):
            store.put(namespace, "a", {})
    wrong: list[Any] = [
        (PutOp((), "a", {}), InvalidNamespaceError),
        (PutOp(("a.b",), "a", {}), InvalidNamespaceError),
        (GetOp(("a",), 1), InputError),
        (PutOp(("a",), "a", {"x": object()}), InputError),
        (PutOp(("a",), "a", "text"), InputError),
        (PutOp(("a",), "a", {}, index="text"), InputError),
        (PutOp(("a",), "a", {}, ttl=-1), InputError),
        ("get", InputError),
    ]
    for op, error in wrong:
        with pytest.raises(error):
            store.batch([PutOp(("a",), "first", {}), op])
    assert store.search(()) == []  # all are checked before the first is stored
    store.put(ANN, "a", {"text": "Ferns."})
    assert store.search(ANN, query="Ferns.") == []  # no score is 2
    assert store.search(ANN, limit=0) == []
