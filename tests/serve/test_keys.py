"""Who may call the server: keys, hosts and origins."""

from hashlib import sha256

import pytest
from fastapi import APIRouter

from m3rag import M3Index, Passage
from m3rag.bases import KnowledgeBases
from m3rag.errors import InputError
from m3rag.serve import Keys, ServeConfig, create_app
from m3rag.serve.dependencies import Read, Write
from m3rag.serve.keys import Key, load_keys
from m3rag.serve.listening import bind
from tests.serve.conftest import KEY, serving

READER, TENANT, WRITER = (f"{name}-0123456789abcdef" for name in ("reader", "tenant", "writer"))
FILE = f"""
[[key]]
name = "reader"
key = "{READER}"
knowledge_bases = ["kb"]

[[key]]
sha256 = "{sha256(TENANT.encode()).hexdigest()}"
filter = {{ tenant = "ann" }}

[[key]]
name = "writer"
key = "{WRITER}"
access = "write"
"""


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def test_a_server_with_a_key(tiny):
    with serving({}, {"tiny": tiny}, key=KEY) as served:
        served.client.headers.clear()
        for path in ("/health", "/ready", "/openapi.json"):
            assert served.client.get(path).is_success
        body = {"input": "x"}
        for headers in (
            {},
            bearer("wrong"),
            {"Authorization": "Bearer"},
            bearer(KEY[:-1]),
            {"Authorization": KEY[1:]},
        ):
            for method, path in (("POST", "/v1/embeddings"), ("GET", "/metrics"), ("POST", "/")):
                refused = served.client.request(method, path, json=body, headers=headers)
                assert refused.status_code == 401
                assert refused.headers["www-authenticate"] == "Bearer"
                assert KEY[1:] not in refused.text
        for headers in (bearer(KEY), {"Authorization": KEY}, {"Authorization": f"bearer {KEY}"}):
            assert served.client.post("/v1/embeddings", json=body, headers=headers).is_success
        # With a key, any host and origin may ask; only browsers are told not to show the answer.
        headers = bearer(KEY) | {"Host": "m3rag.example", "Origin": "https://example.com"}
        found = served.client.post("/v1/embeddings", json=body, headers=headers)
        assert found.is_success
        assert "access-control-allow-origin" not in found.headers


def test_what_each_key_of_a_file_may_do(tiny, tmp_path):
    file = tmp_path / "keys.toml"
    file.write_text(FILE, encoding="utf-8")
    kb, other = M3Index.open(model=tiny), M3Index.open(model=tiny)
    kb.add(Passage(name, name, {"tenant": name}) for name in ("ann", "bob"))
    with serving({"kb": kb, "other": other}, keys=load_keys(None, file)) as served:
        router = APIRouter()

        @router.get("/test/{kb}")
        def read(base: Read) -> int:
            return len(base.index)

        @router.post("/test/{kb}")
        def write(base: Write) -> int:
            return len(base.index)

        served.app.include_router(router)

        def ask(method, name, key):
            response = served.client.request(method, f"/test/{name}", headers=bearer(key))
            return response.json() if response.is_success else response.status_code

        assert ask("GET", "kb", READER) == 2
        assert ask("GET", "other", READER) == 403
        assert ask("GET", "kb", TENANT) == 1  # of ann's
        assert ask("POST", "kb", TENANT) == ask("POST", "kb", READER) == 403
        assert ask("POST", "kb", WRITER) == 2
        assert ask("GET", "none", WRITER) == 404
        assert ask("GET", "none", READER) == 403  # it is not told which exist
        for key, status in ((READER, 403), (TENANT, 403), (WRITER, 200)):
            assert served.client.get("/metrics", headers=bearer(key)).status_code == status
        found = served.client.get("/v1/kbs/kb", headers=bearer(READER)).json()
        assert found["default"]  # of those that it may use


def test_a_server_without_keys_is_for_its_machine_only(served):
    """A web site, or a name that resolves to this machine, is refused; a local program is not."""
    body = {"input": "x"}
    for host in ("evil.example", "evil.example:8080", "10.0.0.1", "[::1", ""):
        assert served.client.get("/health", headers={"Host": host}).status_code == 403
    for origin in ("https://evil.example", "null", "http://[", "http://localhost.evil.example"):
        refused = served.client.post("/v1/embeddings", json=body, headers={"Origin": origin})
        assert refused.status_code == 403
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8080"):
        assert served.client.get("/health", headers={"Host": host}).is_success
    local = {"Origin": served.url}
    assert served.client.post("/v1/embeddings", json=body, headers=local).is_success


def test_cross_origin_requests_if_they_are_allowed(tiny):
    site = "https://app.example"
    with serving({}, {"tiny": tiny}, key=KEY, cors_allow_origin=(site,)) as served:
        asked = {"Origin": site, "Access-Control-Request-Method": "POST"}
        for origin, allowed in ((site, site), ("https://evil.example", None)):
            headers = asked | {"Origin": origin}
            found = served.client.options("/v1/embeddings", headers=headers)
            assert found.headers.get("access-control-allow-origin") == allowed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least one"),
        ("[[key]]\nkey = 'short'", "has 5 characters"),
        (f"[[key]]\nkey = '{READER} x'", "white space"),
        (f"[[key]]\nkey = '{READER}'\nacces = 'read'", "'acces'"),
        (f"[[key]]\nkey = '{READER}'\naccess = 'all'", "'all'"),
        (f"[[key]]\nkey = '{READER}'\nknowledge_bases = 'kb'", "a list of names"),
        (f"[[key]]\nkey = '{READER}'\nfilter = {{ '$no' = 1 }}", "the filter is not valid"),
        (f"[[key]]\nkey = '{READER}'\nsha256 = '{'0' * 64}'", "either key or sha256"),
        ("[[key]]\nsha256 = 'xyz'", "64 hexadecimal digits"),
        (f"[[key]]\nkey = '{READER}'\n[[key]]\nkey = '{READER}'", "twice"),
        (f"[[key]\nkey = '{READER}'", "is not TOML"),
        (f"keys = ['{READER}']", r"\[\[key\]\] tables"),
    ],
)
def test_a_wrong_file_of_keys(tmp_path, text, message):
    file = tmp_path / "keys.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        Keys.read(file)
    assert READER not in str(caught.value)
    assert caught.value.__cause__ is None


def test_what_is_refused_before_the_start(tmp_path):
    for host in ("0.0.0.0", "::", "192.0.2.1", "m3rag.example"):
        with pytest.raises(InputError, match="Other machines can reach"):
            bind(host, 0, guarded=False)
    with pytest.raises(InputError, match=r"cannot be read: No such file"):
        load_keys(None, tmp_path / "none.toml")
    with bind("127.0.0.1", 0, guarded=False) as taken:
        taken.listen()
        with pytest.raises(InputError, match=r"port \d+: Address already in use"):
            bind("127.0.0.1", taken.getsockname()[1], guarded=False)
    keys = Keys([Key("reader", b"", bases=frozenset({"handbok"}))])
    with pytest.raises(InputError, match="'handbok', which is not served"):
        create_app(KnowledgeBases({}, {}), ServeConfig(keys=keys))
    for setting in (
        {"port": -1},
        {"payload_limit": 5},
        {"request_timeout": 0},
        {"drain_timeout": float("nan")},
        {"cors_allow_origin": ("*.example",)},
        {"otlp_endpoint": "localhost:4318"},
        {"served_model_name": ""},
    ):
        with pytest.raises(InputError, match=next(iter(setting))):
            ServeConfig(**setting)
