"""How a hostile language model server behaves, by name."""

import base64
import gzip
import json
import socket
import struct
import zlib
from urllib.parse import quote

from tests.trials.hostile_llm_socket import Client


def says(text):
    """Return a chat completion as JSON."""
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode()


def reply(body=b"", status="200 OK", headers=(), length=None, version="HTTP/1.1"):
    body = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
    length = len(body) if length is None else length
    lines = [f"{version} {status}", f"Content-Length: {length}", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def _sends(make):
    return lambda client: client.send(make(client.key))


def _head(*lines):
    return ("\r\n".join(("HTTP/1.1 200 OK", *lines)) + "\r\n\r\n").encode("latin-1")


def _gzipped(data):
    return reply(gzip.compress(data), headers=["Content-Encoding: gzip"])


def _escaped(key):
    return "".join(f"\\u{ord(character):04x}" for character in key)


def _entities(key):
    return "".join(f"&#{ord(character)};" for character in key)


_CHUNKED = _head("Transfer-Encoding: chunked")
_GOOD = says("Ferns like shade [1].")
_MANY = 2_000_000

ANSWERS = {  # the content of a chat completion
    "good": lambda key: "Ferns like shade [1].",
    "key in the answer": lambda key: f"Your key is {key} [1].",
    "key in the answer, part": lambda key: f"Your key starts with {key[:12]} [1].",
    "key in the answer, base64": lambda key: base64.b64encode(f"Bearer {key}".encode()).decode(),
    "key in the answer, escaped": lambda key: f"{quote(_escaped(key))} [1]",
    "lone surrogate": lambda key: "Ferns \ud800 like \udfff shade [1].",
    "surrogates in a citation": lambda key: "[\ud800] “\udc80” [1]",
    "pair of surrogates": lambda key: "Fern \U0001f33f [1].",
    "control characters": lambda key: "A\x00\x1b[2J\x1b]0;x\x07 \u202e [1].",
    "empty": lambda key: "",
    "only white space": lambda key: " \n\t\u3000",
    "only wrong citations": lambda key: "[8][9]",
    "null": lambda key: None,
    "number": lambda key: 7,
    "list of parts": lambda key: [{"type": "text", "text": key}],
    "7 million characters": lambda key: "x" * 7_000_000,
    "spaces": lambda key: "x" + " " * 900_000 + "y",
    "opening quotes": lambda key: "“" * 150_000,
    "nested brackets": lambda key: "[" * 90_000 + "9" + "]9" * 89_999 + "]",
    "5,000 digits": lambda key: f"see [{'9' * 5_000}] [1]",
    "digits and separators": lambda key: "[" + "1,2-3;" * 100_000,
    "ranges": lambda key: "".join(f"[{n}-{n + 98}]" for n in range(1, 5_000_000, 99)),
    "quotations": lambda key: "".join(f"“Ferns {n}” [1]. " for n in range(20_000)),
    "omissions": lambda key: f"“{'a…' * 200_000}” [1]",
}

RESPONSES = {  # a whole response
    "no choices": lambda key: reply(b"{}"),
    "empty choices": lambda key: reply(b'{"choices": []}'),
    "choices is a dict": lambda key: reply(b'{"choices": {"0": 1}}'),
    "choices is null": lambda key: reply(b'{"choices": null}'),
    "top level list": lambda key: reply(b"[1]"),
    "top level string": lambda key: reply(json.dumps(key)),
    "deep JSON": lambda key: reply(b"[" * 150_000),
    "deep dicts": lambda key: reply(b'{"a":' * 150_000),
    "5,000 digits in JSON": lambda key: reply(b'{"choices": ' + b"9" * 5_000 + b"}"),
    "many small lists": lambda key: reply(b"[" + b"[]," * 2_500_000 + b"[]]"),
    "NaN": lambda key: reply(b'{"choices": [NaN]}'),
    "not UTF-8": lambda key: reply(b'{"choices": "\xff\xfe\xfa"}'),
    "UTF-16": lambda key: reply(_GOOD.decode().encode("utf-16")),
    "byte order mark": lambda key: reply(b"\xef\xbb\xbf" + _GOOD),
    "empty body": lambda key: reply(b""),
    "page": lambda key: reply(f"<html>{_entities(key)}</html>"),
    "events": lambda key: reply(b"data: {}\n\ndata: [DONE]\n\n"),
    "20 MB": lambda key: reply(b"x" * (20 << 20)),
    "20 MB of an answer": lambda key: reply(says("x" * (20 << 20))),
    "500 with 20 MB": lambda key: reply(b"x" * (20 << 20), "500 Oops"),
    "gzip": lambda key: _gzipped(_GOOD),
    "gzip bomb": lambda key: _gzipped(bytes(50 << 20)),
    "deflate that is not said": lambda key: reply(zlib.compress(_GOOD)),
    "gzip that is none": lambda key: reply(_GOOD, headers=["Content-Encoding: gzip"]),
    "encoding with the key": lambda key: reply(_GOOD, headers=[f"Content-Encoding: {key}"]),
    "length too short": lambda key: reply(_GOOD, length=20),
    "length too long": lambda key: reply(_GOOD, length=len(_GOOD) + 10),
    "length of an exabyte": lambda key: reply(_GOOD, length=10**18),
    "length of 5,000 digits": lambda key: reply(_GOOD, length="9" * 5_000),
    "negative length": lambda key: reply(_GOOD, length=-5),
    "two lengths": lambda key: reply(_GOOD, headers=["Content-Length: 3"]),
    "length is the key": lambda key: reply(_GOOD, length=key),
    "chunks": lambda key: _CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(_GOOD), _GOOD),
    "chunk of a bad size": lambda key: _CHUNKED + key.encode() + b"\r\nxx\r\n",
    "chunk of a negative size": lambda key: _CHUNKED + b"-5\r\nxx\r\n",
    "chunk of a huge size": lambda key: _CHUNKED + b"f" * 5_000 + b"\r\nxx\r\n",
    "chunk without an end": lambda key: _CHUNKED + b"ff\r\nxx",
    "chunks and a length": lambda key: reply(
        b"2\r\nxx\r\n", headers=["Transfer-Encoding: chunked"]
    ),
    "HTTP/1.0": lambda key: b"HTTP/1.0 200 OK\r\n\r\n" + _GOOD,
    "HTTP/0.9": lambda key: _GOOD,
    "HTTP/9.9": lambda key: reply(_GOOD, version="HTTP/9.9"),
    "status of 5,000 digits": lambda key: reply(_GOOD, "9" * 5_000),
    "status is the key": lambda key: reply(_GOOD, key),
    "no status": lambda key: b"HTTP/1.1\r\n\r\n",
    "binary": lambda key: bytes(range(256)) * 100,
    "only the key": lambda key: f"{key}\r\n\r\n".encode(),
    "header of 1 MB": lambda key: reply(_GOOD, headers=["X: " + "x" * (1 << 20)]),
    "100,000 headers": lambda key: reply(_GOOD, headers=["X-Y: z"] * 100_000),
    "header without a colon": lambda key: reply(_GOOD, headers=[key]),
    "folded headers": lambda key: reply(_GOOD, headers=["X: y", " z" * 1_000, "\tz"]),
    "101": lambda key: reply(b"", "101 Switching Protocols"),
    "103": lambda key: b"HTTP/1.1 103 Early Hints\r\n\r\n" + reply(_GOOD),
    "100 first": lambda key: b"HTTP/1.1 100 Continue\r\n\r\n" + reply(_GOOD),
    "204": lambda key: reply(b"", "204 No Content"),
    "304": lambda key: reply(b"", "304 Not Modified"),
    "redirect": lambda key: reply(b"", "302 Found", [f"Location: /v1?key={key}"]),
    "redirect that keeps the method": lambda key: reply(b"", "308 Moved", ["Location: /v1/x"]),
    "redirect to a file": lambda key: reply(b"", "301 Moved", ["Location: file:///etc/passwd"]),
    "401 echoes": lambda key: reply(f"Wrong key: {key}", "401 Unauthorized"),
    "401 echoes the header": lambda key: reply(f"authorization: Bearer {key}", "401 No"),
    "401 echoes in the reason": lambda key: reply(b"no", f"401 Wrong key {key}"),
    "401 echoes in a header": lambda key: reply(b"no", "401 No", [f"WWW-Authenticate: {key}"]),
    "401 echoes as JSON": lambda key: reply(json.dumps({"error": f"/{key}/"}), "401 No"),
    "401 echoes escaped": lambda key: reply(_escaped(key), "401 No"),
    "401 echoes escaped twice": lambda key: reply(_escaped(quote(f"{key}/")), "401 No"),
    "401 echoes in percent": lambda key: reply(
        "".join(f"%{ord(character):02x}" for character in key), "401 No"
    ),
    "401 echoes base64": lambda key: reply(base64.b64encode(f"x{key}".encode()), "401 No"),
    "401 echoes base64 of the header": lambda key: reply(
        base64.encodebytes(f"Authorization: Bearer {key}".encode() * 3), "401 No"
    ),
    "401 echoes hex": lambda key: reply(key.encode().hex().upper(), "401 No"),
    "401 echoes entities": lambda key: reply(_entities(key), "401 No"),
    "401 echoes the first part": lambda key: reply(f"{key[:9]}…", "401 No"),
    "401 echoes the last part": lambda key: reply(f"…{key[-9:]}", "401 No"),
    "401 echoes in upper case": lambda key: reply(key.upper(), "401 No"),
    "401 echoes in lines": lambda key: reply("\n".join(key), "401 No"),
    "401 echoes at the cut": lambda key: reply("x" * 290 + key, "401 No"),
    "401 echoes at the end of the search": lambda key: reply("x" * 8_180 + key, "401 No"),
    "200 echoes": lambda key: reply(f"Bearer {key} is wrong"),
    "403 with escapes": lambda key: reply("\x1b[2J\x00\r\n\x07", "403 \x1b]0;x\x07"),
    "429": lambda key: reply(b"{}", "429 Slow down", ["Retry-After: 9" * 100]),
}


def _reset(client):
    client.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _sent_then(data, then):
    def behave(client):
        client.send(data)
        then(client)

    return behave


def _unread(behave):
    def unread(client):
        behave(client)

    unread.unread = True
    return unread


SLOW = {  # these last until the client hangs up
    "silence": Client.hold,
    "silence before the request": _unread(Client.hold),
    "slow body": _sent_then(_head(f"Content-Length: {_MANY}"), lambda c: c.drip(b"x" * _MANY)),
    "slow answer": lambda c: c.drip(reply(_GOOD.ljust(_MANY))),
    "slow status": lambda c: c.drip(b"HTTP/1.1 200 " + b"x" * _MANY),
    "slow headers": _sent_then(b"HTTP/1.1 200 OK\r\n", lambda c: c.drip(b"X: y\r\n" * _MANY)),
    "slow chunks": _sent_then(_CHUNKED, lambda c: c.drip(b"1\r\nx\r\n" * _MANY)),
    "slow error": _sent_then(
        b"HTTP/1.1 401 No\r\nContent-Length: 2000000\r\n\r\n", lambda c: c.drip(b"x" * _MANY)
    ),
    "slow 100": lambda c: c.drip(b"HTTP/1.1 100 Continue\r\n\r\n" * _MANY),
    "open without a length": _sent_then(b"HTTP/1.1 200 OK\r\n\r\n" + _GOOD, Client.hold),
    "open with too long a length": _sent_then(reply(_GOOD, length=_MANY), Client.hold),
    "open after half a header": _sent_then(b"HTTP/1.1 200 OK\r\nContent-Le", Client.hold),
    "open before the last chunk": _sent_then(_CHUNKED + b"2\r\nxx\r\n", Client.hold),
    "open after the answer": _sent_then(reply(_GOOD), Client.hold),
}

ENDLESS = {
    "endless body": _sent_then(_head(), lambda c: c.flood(b"x" * 65536)),
    "endless spaces": _sent_then(_head(), lambda c: c.flood(b" " * 65536)),
    "endless chunks": _sent_then(_CHUNKED, lambda c: c.flood(b"1\r\nx\r\n")),
    "endless chunk extension": _sent_then(_CHUNKED + b"1;", lambda c: c.flood(b"x")),
    "endless trailers": _sent_then(_CHUNKED + b"0\r\n", lambda c: c.flood(b"X: y\r\n")),
    "endless headers": _sent_then(b"HTTP/1.1 200 OK\r\n", lambda c: c.flood(b"X: y\r\n")),
    "endless header": _sent_then(b"HTTP/1.1 200 OK\r\nX: ", lambda c: c.flood(b"x")),
    "endless status line": _sent_then(b"HTTP/1.1 200 ", lambda c: c.flood(b"x")),
    "endless 100": lambda c: c.flood(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "endless error": _sent_then(b"HTTP/1.1 500 No\r\n\r\n", lambda c: c.flood(b"x")),
}

SOCKETS = {
    "closes at once": _unread(lambda c: None),
    "closes after the request": lambda c: None,
    "resets at once": _unread(_reset),
    "resets after the request": _reset,
    "resets in the answer": _sent_then(reply(_GOOD, length=_MANY), _reset),
    "closes its half": lambda c: (c.connection.shutdown(socket.SHUT_WR), c.hold()),
    "closes its half in the answer": lambda c: (
        c.send(reply(_GOOD, length=_MANY)),
        c.connection.shutdown(socket.SHUT_WR),
        c.hold(),
    ),
    "answers before the request": _unread(lambda c: c.send(reply(_GOOD))),
    "refuses before the request": _unread(lambda c: c.send(reply(b"no", "413 Too long"))),
    "never speaks HTTP": lambda c: c.send(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "speaks TLS": lambda c: c.send(b"\x15\x03\x03\x00\x02\x02\x28"),
}

BEHAVIOURS = {
    **{f"answer: {n}": _sends(lambda k, m=m: reply(says(m(k)))) for n, m in ANSWERS.items()},
    **{name: _sends(make) for name, make in RESPONSES.items()},
    **SLOW,
    **ENDLESS,
    **SOCKETS,
}
