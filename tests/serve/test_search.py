"""Searching over HTTP finds what the index finds; and which bases and documents there are."""

import pytest

from m3rag import M3Index
from m3rag.index.contents import add_text, document, documents
from tests.serve.conftest import KEY, serving

QUERY = "What waters the ferns?"
TEXTS = {
    "pump.md": ("# Pump\n\nThe pump waters the ferns when the soil is dry.", {"lang": "en"}),
    "es/sensor.md": ("# Sensor\n\nEl sensor mide la humedad del suelo.", {"lang": "es"}),
    "página #1?.md": ("Relays click at noon.", {"lang": "en"}),
}


@pytest.fixture(scope="module")
def index(tiny):
    index = M3Index.open(model=tiny)
    for name, (text, metadata) in TEXTS.items():
        add_text(index, text, id=name, metadata=metadata)
    return index


@pytest.fixture(scope="module")
def kb(index):
    with serving({"garden": index, "other": M3Index.open(model=index.model)}) as served:
        yield served.client


def search(kb, **body):
    answer = kb.post("/v1/kbs/garden/search", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def plain(hits):
    return [hit.to_dict() for hit in hits]


def test_the_hits_are_those_of_the_index(kb, index):
    assert search(kb, query=QUERY)["hits"] == plain(index.search(QUERY, 5))
    options = {"weights": {"dense": 1, "bm25": 0.1}, "filter": {"lang": "en"}, "offset": 1}
    found = search(kb, query=QUERY, k=1, candidates=3, **options)
    assert found["hits"] == plain(index.search(QUERY, 1, candidates=3, **options))
    several = search(kb, queries=[QUERY, "soil"], k=2, fusion="rrf", rrf_k=10)["results"]
    expected = index.search_many([QUERY, "soil"], 2, fusion="rrf", rrf_k=10)
    assert several == [{"hits": plain(hits)} for hits in expected]
    widened = search(kb, query=QUERY, k=1, neighbours=1, explain=True)["hits"]
    [hit] = index.search(QUERY, 1)
    assert widened[0].pop("explanation") == hit.explain().to_dict()
    assert widened == plain(index.expand([hit]))


def test_what_is_wrong_is_said(kb):
    for body, status, said in (
        ({}, 400, "Send either `query` or `queries`."),
        ({"query": "a", "queries": ["b"]}, 400, "Send either"),
        ({"query": " "}, 400, "empty"),
        ({"query": "a", "weights": "none"}, 400, "Unknown weights"),
        ({"query": "a", "filter": {"$no": 1}}, 400, "$no"),
        ({"query": "a", "k": 0}, 422, "k: "),
        ({"query": "a", "limit": 3}, 422, "limit: "),
    ):
        answer = kb.post("/v1/kbs/garden/search", json=body)
        assert (answer.status_code, said in answer.json()["error"]["message"]) == (status, True)
    assert kb.post("/v1/kbs/none/search", json={"query": "a"}).status_code == 404


def test_knowledge_bases_and_documents(kb, index):
    listed = kb.get("/v1/kbs").json()["knowledge_bases"]
    garden = {
        "name": "garden",
        "passages": 3,
        "model": "tiny",
        "writable": True,
        "default": False,
    }
    assert [one["name"] for one in listed] == ["garden", "other"]
    assert listed[0] == garden
    assert kb.get("/v1/kbs/garden").json() == {**garden, "documents": 3}
    page = kb.get("/v1/kbs/garden/documents", params={"limit": 2}).json()
    assert page == documents(index, limit=2).to_dict()
    rest = kb.get("/v1/kbs/garden/documents", params={"after": page["next"]}).json()
    assert [one["id"] for one in rest["documents"]] == ["página #1?.md"]
    found = kb.get("/v1/kbs/garden/documents/p%C3%A1gina%20%231%3F.md").json()
    assert found == document(index, "página #1?.md").to_dict()
    assert kb.get("/v1/kbs/garden/documents/es/sensor.md").json()["title"] == "Sensor"
    missing = kb.get("/v1/kbs/garden/documents/none")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "no_such_document")


def test_a_key_sees_only_what_it_may(index, tmp_path):
    from m3rag.serve import Keys

    file = tmp_path / "keys.toml"
    file.write_text(
        f'[[key]]\nkey = "{KEY}"\nknowledge_bases = ["garden"]\nfilter = {{lang = "es"}}\n'
    )
    bases = {"garden": index, "other": M3Index.open(model=index.model)}
    with serving(bases, keys=Keys.read(file)) as served:
        client = served.client
        assert client.get("/v1/kbs").status_code == 401
        client.headers["Authorization"] = f"Bearer {KEY}"
        [listed] = client.get("/v1/kbs").json()["knowledge_bases"]
        assert (listed["passages"], listed["writable"], listed["default"]) == (1, False, True)
        hits = client.post("/v1/kbs/garden/search", json={"query": QUERY}).json()["hits"]
        assert [hit["passage"]["id"] for hit in hits] == ["es/sensor.md#0"]
        assert client.get("/v1/kbs/garden/documents/pump.md").status_code == 404
        assert client.get("/v1/kbs/other/documents").status_code == 403
