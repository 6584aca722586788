"""An index of a server, opened by its address: the same classes and the same hits as a folder."""

import json
import pickle  # noqa: TID251 - what users do
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import httpx
import numpy as np
import pytest

from m3rag import M3Index, Passage
from m3rag.errors import (
    ClosedError,
    FormatError,
    InputError,
    ModelMismatchError,
    StorageError,
    TruncationWarning,
)
from m3rag.http.client import API_KEY, Server
from m3rag.http.messages import decode, encode
from m3rag.index import Preset
from m3rag.langchain import M3EnsembleRetriever as LangChainRetriever
from m3rag.langchain import M3VectorStore as LangChainStore
from m3rag.llama_index import M3EnsembleRetriever as LlamaIndexRetriever
from m3rag.llama_index import M3VectorStore as LlamaIndexStore
from m3rag.model.remote import RemoteModel
from m3rag.serve.keys import Keys
from m3rag.stores.remote.location import RemoteLocation
from m3rag.stores.remote.store import RemoteStore
from m3rag.stores.remote.values import points_message
from tests.serve.conftest import KEY, serving

QUESTION = "When are the plants watered?"
PASSAGES = [
    Passage("pump#0", "La bomba riega las plantas.", {"lang": "es", "n": 1}, "pump", 0, 27),
    Passage("pump#1", "El suelo debe estar seco.", {"lang": "es", "n": 2}, "pump", 28, 53),
    Passage("air", "Der Sensor misst die Temperatur der Luft.", {"lang": "de", "n": 3}),
    Passage("rule", "The plants are watered when the soil is dry.", {"lang": "en", "n": 4}),
    Passage("ü 漢字", "Un relais est un interrupteur électrique.", {"lang": "fr"}),
]


@pytest.fixture(scope="module")
def library(tiny):
    with M3Index.open(model=tiny) as index:
        index.add(PASSAGES)
        index.save_preset("own", Preset({"dense": 1, "bm25": 0.1}))
        yield index


@pytest.fixture(scope="module")
def address(tiny):
    """The address of the same index on a server."""
    index = M3Index.open(model=tiny)
    index.add(PASSAGES)
    index.save_preset("own", Preset({"dense": 1, "bm25": 0.1}))
    with serving({"kb": index}) as served:
        yield f"{served.url}/kb"


@contextmanager
def new(tiny, **settings):
    """Serve an empty index, and yield its address with the server."""
    with serving({"kb": M3Index.open(model=tiny)}, **settings) as served:
        yield f"{served.url}/kb", served


async def test_an_address_gives_the_hits_of_the_library(address, library):
    with M3Index.open(address) as index:
        assert (index.path, len(index), index.presets) == (None, 5, library.presets)
        assert repr(index).startswith(f"M3Index({address!r}, model='tiny'")
        for options in (
            {},
            {"weights": "cross-lingual", "filter": {"lang": ["es", "en"]}},
            {"weights": "own", "offset": 1},
            {"weights": (1, 1, 1, 0.1), "fusion": "rrf", "max_per_document": 1},
            {"channels": ["colbert"], "balance": "lang", "min_score": 0.1},
        ):
            assert index.search(QUESTION, 3, **options) == library.search(QUESTION, 3, **options)
        [hit, *_] = hits = await index.asearch(QUESTION)
        [own, *_] = expected = library.search(QUESTION)
        assert hit.explain().to_dict() == own.explain().to_dict()
        assert index.expand(hits) == library.expand(expected)
        assert index.diversify(hits, 2) == library.diversify(expected, 2)
        assert index.search_many([QUESTION, "air"]) == library.search_many([QUESTION, "air"])
        vector = library.dense_vectors(["rule"])[0]
        assert index.search_by_vector(vector) == library.search_by_vector(vector)
        scored, columns = index.rescore(QUESTION, ["The soil is dry.", PASSAGES[2].text])
        wanted, others = library.rescore(QUESTION, ["The soil is dry.", PASSAGES[2].text])
        assert np.array_equal(scored, wanted)
        assert {c: v.tolist() for c, v in columns.items()} == {
            c: v.tolist() for c, v in others.items()
        }
        assert list(index.passages(batch=2)) == list(library.passages(batch=2))
        assert index.documents() == {"pump": 2}
        with ThreadPoolExecutor(8) as pool:
            found = pool.map(index.search, [QUESTION] * 24)
        assert all(one == expected for one in found)
        again = pickle.loads(pickle.dumps(index))
        assert again.search(QUESTION) == expected
        again.close()
    with pytest.raises(ClosedError, match=r"M3Index.open\(url\)"):
        index._store.count()


async def test_what_is_written_is_there_for_everyone(tiny):
    with new(tiny) as (url, served), M3Index.open(url) as writer, M3Index.open(url) as reader:
        reported = []
        many = [Passage(f"p{i}", f"Passage {i} of many.", {"n": i}) for i in range(150)]
        await writer.aadd(many, progress=lambda *done: reported.append(done), durable=True)
        assert reported[-1] == ("adding passages", 150, 150)
        assert reader.get(["p3", "none"]) == [many[3], None]
        result = reader.upsert_documents(PASSAGES)
        assert len(result.added) == 5
        assert reader.upsert_documents(PASSAGES).unchanged == result.ids
        assert writer.update_metadata({"seen": True}, filter={"lang": "es"}) == 2
        assert reader.count({"seen": True}) == 2
        assert writer.rename({"air": replace(PASSAGES[2], id="luft")}) == 1
        assert writer.delete(["luft", "none"]) == 1
        assert writer.delete(filter={"n": {"gte": 100}}) == 50
        writer.optimize()
        assert len(reader) == 104
        writer.save_preset("mine", Preset({"dense": 1}))
        with M3Index.open(url) as later:
            assert later.presets["mine"].weights["dense"] == 1
        inside = served.app.state.backend.bases.get("kb")
        assert reader.search(QUESTION) == inside.search(QUESTION)
        with pytest.raises(InputError, match="lone surrogate"):
            writer.add(["\ud800"])


def test_the_servers_model_encodes_as_the_library_does(address, tiny):
    texts = [f"Text {i} about soil." for i in range(130)]
    with M3Index.open(address) as index:
        model, done = index.model, []
        assert (model.name, model.dim, model.fingerprint) == ("tiny", tiny.dim, tiny.fingerprint)
        documents = ["a"] * 70 + [None] * 60
        for given in (None, documents):
            remote = model.encode(texts, documents=given, progress=lambda *d: done.append(d))
            local = tiny.encode(texts, documents=given)
            assert np.array_equal(remote.n_tokens, local.n_tokens)
            assert np.array_equal(remote.sparse.indices, local.sparse.indices)
            assert np.allclose(remote.dense, local.dense, atol=1e-6)
            assert np.allclose(remote.colbert.vectors, local.colbert.vectors, atol=1e-6)
        assert [count for _, count, _ in done] == [64, 128, 130, 70, 130]
        assert model.token_ids(texts[:2]) == tiny.token_ids(texts[:2])
        weights = model.token_weights(texts[:3]), tiny.token_weights(texts[:3])
        assert all(np.allclose(*pair, atol=1e-6) for pair in zip(*weights, strict=True))
        assert len(model.encode([])) == 0
        for wrong in ("text", [1], ["\ud800"]):
            with pytest.raises(InputError, match="texts"):
                model.encode(wrong)
        with pytest.raises(InputError, match="`documents` must have one"):
            model.encode(["a"], documents=["a", "b"])
        with pytest.raises(InputError, match="max_length"):
            model.encode(["a"], max_length=1)
        with pytest.warns(TruncationWarning, match="1 of 2 texts was cut to 8 tokens"):
            assert model.encode(["a", "soil " * 20], max_length=8).truncated.tolist() == [
                False,
                True,
            ]
        copy = pickle.loads(pickle.dumps(model))
        assert copy.encode(["a"]).n_tokens.tolist() == [3]
    with M3Index.open(address, model=tiny) as index:
        assert index.model is tiny


def test_frameworks_and_commands_take_an_address(address, library, m3rag):
    expected = [hit.passage.text for hit in library.search(QUESTION, 2)]
    found = LangChainRetriever(path=address, k=2).invoke(QUESTION)
    assert [document.page_content for document in found] == expected
    nodes = LlamaIndexRetriever(path=address, similarity_top_k=2).retrieve(QUESTION)
    assert [node.text for node in nodes] == expected
    with LangChainStore(path=address) as store:
        assert [d.page_content for d in store.similarity_search(QUESTION, 2)] == expected
    with LlamaIndexStore(path=address) as other:
        [node] = other.get_nodes(["rule"])
        assert node.get_content() == PASSAGES[3].text
    code, out, _ = m3rag("ask", QUESTION, "--in", address, "-k", 2, "--json")
    assert code == 0
    assert [hit["passage"]["text"] for hit in json.loads(out)["hits"]] == expected
    code, out, _ = m3rag("info", "--in", address, "--json")
    assert (code, json.loads(out)["passages"]) == (0, 5)


def test_rights_of_keys(tiny, monkeypatch):
    reading, tenant = "r" * 20, "t" * 20
    keys = Keys.of(KEY) + Keys.of(reading) + Keys.of(tenant)
    all_keys = list(keys._keys)
    all_keys[1] = replace(all_keys[1], write=False, bases=frozenset({"kb"}))
    all_keys[2] = replace(all_keys[2], filter={"tenant": "ann"})
    with new(tiny, keys=Keys(all_keys)) as (url, _):
        with pytest.raises(InputError, match=f"needs an API key.*Set {API_KEY}"):
            M3Index.open(url)
        monkeypatch.setenv(API_KEY, "wrong-key-0123456789")
        with pytest.raises(InputError, match="not valid") as caught:
            M3Index.open(url)
        assert "wrong-key" not in str(caught.value)
        monkeypatch.setenv(API_KEY, "two\nlines")
        with pytest.raises(InputError, match="white space"):
            M3Index.open(url)
        monkeypatch.setenv(API_KEY, KEY)
        with M3Index.open(url) as index:
            index.add(PASSAGES)
            assert KEY not in repr(pickle.dumps(index))
        with M3Index.open(RemoteLocation(url, api_key=reading)) as index:
            assert len(index) == 5
            for write in (
                lambda: index.add(["x"]),
                lambda: index.delete(["air"]),
                lambda: index.save_preset("x", Preset({"dense": 1})),
            ):
                with pytest.raises(InputError, match="may only read"):
                    write()
        with pytest.raises(InputError, match="may not use"):
            M3Index.open(RemoteLocation(url.replace("/kb", "/other"), api_key=reading))
        with M3Index.open(RemoteLocation(url, api_key=tenant)) as index:
            assert (len(index), index.search(QUESTION), index.get(["air"])) == (0, [], [None])
            index.add([Passage("mine", "Ann's plants.", {"tenant": "ann"})])
            assert [hit.passage.id for hit in index.search(QUESTION)] == ["mine"]
            assert index.delete(["air", "pump#0"]) == index.delete(filter={"n": 3}) == 0
            assert index.dense_vectors(["air"]) == [None]
            for write, reason in (
                (lambda: index.add([Passage("x", "x", {"tenant": "bob"})]), "does not match"),
                (lambda: index.add([Passage("air", "x", {"tenant": "ann"})]), "is taken"),
                (lambda: index.update_metadata({"tenant": "bob"}, ["mine"]), "does not match"),
                (lambda: index.save_preset("x", Preset({"dense": 1})), "cannot save weights"),
            ):
                with pytest.raises(InputError, match=reason):
                    write()
        monkeypatch.setenv(API_KEY, KEY)
        with M3Index.open(url) as index:
            assert len(index) == 6


def test_a_server_that_is_not_there(tiny, address):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(StorageError, match=r"cannot be reached.*Start the server"):
        M3Index.open(f"http://127.0.0.1:{port}/kb")
    with pytest.raises(FormatError, match=r"no knowledge base 'other'\. There are: kb"):
        M3Index.open(address.replace("/kb", "/other"), model=tiny)
    other = SimpleNamespace(name="other", fingerprint="0" * 64, dim=8)
    with pytest.raises(ModelMismatchError, match="was built by the model 'tiny'"):
        M3Index.open(address, model=other)


@contextmanager
def answering(reply):
    """Answer each connection with fixed bytes; with None, with nothing, and without closing it."""
    listening = socket.create_server(("127.0.0.1", 0))
    held = []

    def run():
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            held.append(connection)
            connection.recv(65_536)
            if reply is not None:
                connection.sendall(reply)
                connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/kb"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()
        for connection in held:
            connection.close()


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (None, "did not answer 'open' within 0.3 seconds"),
        (b"", "connection to .* was lost during 'open'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "is no message of m3rag"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}", "status 404.*Check the address"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n", "status 302"),
        (b"HTTP/1.1 429 No\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n", "is busy"),
    ],
)
def test_a_server_that_does_not_answer_well(reply, reason):
    with answering(reply) as url, pytest.raises(StorageError, match=reason):
        RemoteLocation(url, timeout=0.3).exists()


def test_an_answer_of_another_version():
    content = encode({"number": "many"})
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\n\r\n".encode()
    with answering(head + content) as url:
        server = Server(url)
        for call in (
            lambda: RemoteModel(server),
            lambda: RemoteStore(server).count(),
            lambda: RemoteStore(server).get(["a"]),
            lambda: RemoteStore(server).search([]) or RemoteStore(server).dense_vectors(["a"]),
        ):
            with pytest.raises(StorageError, match=r"does not understand.*same version"):
                call()
        server.close()


def test_a_server_that_goes_away(tiny):
    acknowledged = []
    with new(tiny) as (url, served):
        index = M3Index.open(url)
        index.add(PASSAGES)
        inside = served.app.state.backend.bases.get("kb")

        def then_drain(_, done, __):
            acknowledged.append(done)
            if done == 40:
                served.server.drain()

        passages = (f"Passage {i} of a long add." for i in range(100_000))
        with pytest.raises(StorageError, match=r"cannot be reached|was lost|shutting down|closed"):
            index.add(passages, batch=20, progress=then_drain)
        stored = len(inside._store._points) if not inside.closed else None
    assert acknowledged[:2] == [20, 40]
    assert stored is None or stored >= acknowledged[-1]
    with pytest.raises(StorageError, match="cannot be reached"):
        index.search(QUESTION)
    index.close()


def test_a_knowledge_base_that_is_dropped_or_closed(tiny):
    with new(tiny) as (url, served), M3Index.open(url) as index:
        bases = served.app.state.backend.bases
        dropped = bases._indexes.pop("kb")
        with pytest.raises(FormatError, match="There are: none"):
            index.count()
        bases._indexes["kb"] = dropped
        assert index.count() == 0


def test_messages_that_nobody_sends_by_accident(address):
    """Each wrong message gets an error of ours, and none changes or stops anything."""
    base, name = address.rsplit("/", 1)
    target = f"{base}/v1/kbs/{name}/store"
    with M3Index.open(address) as index:
        points = index._points([Passage("new", "new")])
    body, arrays = points_message(points)
    good = encode(body, arrays)
    assert decode(good)[0] == body
    bad_arrays = []
    for number, array in enumerate(arrays):
        wrong = {
            "i": lambda a: a - 1_000_000,
            "f": lambda a: a * np.float32(np.nan),
        }[array.dtype.kind](array)
        bad_arrays.append(encode(body, [*arrays[:number], wrong, *arrays[number + 1 :]]))
        bad_arrays.append(encode(body, [*arrays[:number], array[:-1], *arrays[number + 1 :]]))
    described = {"retrieve": ["dense"], "score": ["dense"], "candidates": 5, "has": []}
    vector = np.ones(3, np.float32)
    cases = {
        "add": [
            b"",
            b"\xff" * 40,
            good[:-1],
            good + b"x",
            good.replace(b"<f4", b"|O8"),
            good.replace(b"<i8", b"<M8"),
            encode({"passages": 1}, arrays),
            encode({"passages": [{"id": 1}]}, arrays),
            encode({"passages": [*body["passages"], *body["passages"]]}, arrays),
            encode(body, arrays[:2]),
            *bad_arrays,
        ],
        "search": [
            encode({"plans": [described]}),
            encode({"plans": [{**described, "has": ["dense"]}]}, [vector]),
            encode({"plans": [{**described, "candidates": 1e9}]}),
            encode({"plans": [{**described, "retrieve": ["x"]}]}),
            encode({"plans": 3}),
        ],
        "update": [encode({"passages": body["passages"], "ids": []}), encode({})],
        "delete": [encode({"ids": "x"}), encode({"ids": [1]})],
        "delete_where": [encode({}), encode({"where": {"a": {"b": 1}}})],
        "scan": [encode({"limit": 0}), encode({"limit": 1, "after": 3})],
        "encode": [
            encode({"texts": "a"}),
            encode({"texts": [1], "dense": True}),
            encode({"texts": []}),
        ],
        "read_record": [encode({"name": "../../etc/passwd"})],
        "write_record": [encode({"name": "m3rag.json", "content": "{}"}), encode({})],
        "close": [encode({})],
    }
    with httpx.Client() as client:
        for method, messages in cases.items():
            for message in messages:
                answer = client.post(f"{target}/{method}", content=message)
                assert answer.status_code == 400, (method, message[:200], answer.text)
                assert answer.json()["error"]["message"]
    with M3Index.open(address) as index:
        assert len(index) == 5
