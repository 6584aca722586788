"""API keys: who may call the server, and what for.

A file of keys is TOML, with a table for each key:

    [[key]]
    name = "chatbot"                     # what logs call it
    key = "…"                            # or sha256 = "…", the hash of the key in hexadecimal
    access = "read"                      # or "write", which includes reading
    knowledge_bases = ["handbook"]       # all of them by default
    filter = { tenant = "ann" }          # only these passages exist for the key

The server keeps only hashes, and compares all of them, in constant time, with that of a key that it
is given.
"""

from __future__ import annotations

import hmac
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from m3rag.answers.keys import check_key
from m3rag.errors import InputError
from m3rag.limits import shown
from m3rag.stores.filters import parse_filter

_FIELDS = {"name", "key", "sha256", "access", "knowledge_bases", "filter"}
_LEAST = 16  # characters of a key
_HEX = 64


@dataclass(frozen=True, slots=True)
class Key:
    """A key, and what it allows.

    Attributes:
        name: What logs call it.
        digest: The SHA-256 of the key.
        write: Whether it may add and delete documents.
        bases: The names of the knowledge bases that it may use; None for all.
        filter: The passages that exist for it; None for all.
    """

    name: str
    digest: bytes = field(repr=False)
    write: bool = True
    bases: frozenset[str] | None = None
    filter: Mapping[str, Any] | None = None

    def allows(self, base: str) -> bool:
        """Return whether the key may use a knowledge base."""
        return self.bases is None or base in self.bases

    @property
    def unlimited(self) -> bool:
        """Whether it may use all passages of all knowledge bases."""
        return self.bases is None and self.filter is None


ANYONE = Key("-", b"")
"""The caller of a server without keys."""


class Keys:
    """The keys of a server; false if there are none."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._keys = tuple(keys)
        for number, key in enumerate(self._keys):
            if any(hmac.compare_digest(key.digest, other.digest) for other in self._keys[:number]):
                raise InputError(f"The key {shown(key.name)} is there twice. Remove one of them.")

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, given: str) -> Key | None:
        """Return the key with this text; None if there is none."""
        digest = sha256(given.encode()).digest()
        found = None
        for key in self._keys:  # all of them, so that the time says nothing
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found

    def check_bases(self, names: Iterable[str]) -> None:
        """Check that the knowledge bases of the keys exist.

        Raises:
            InputError: One does not.
        """
        names = tuple(names)
        for key in self._keys:
            if unknown := sorted((key.bases or frozenset()).difference(names)):
                raise InputError(
                    f"The key {shown(key.name)} is for the knowledge base {shown(unknown[0])}, "
                    f"which is not served. There are: {', '.join(names) or 'none'}."
                )

    def __add__(self, other: Keys) -> Keys:
        return Keys((*self._keys, *other._keys))

    @classmethod
    def of(cls, text: str, name: str = "api-key") -> Keys:
        """Return one key that allows everything.

        Raises:
            InputError: It is too short, or cannot be sent in a header.
        """
        return cls([Key(name, _digest(text, "The API key"))])

    @classmethod
    def read(cls, path: Path) -> Keys:
        """Read a file of keys.

        Raises:
            InputError: The file cannot be read or is not valid. The message shows no key.
        """
        try:
            tables = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"The key file {path} cannot be read: {error.strerror}.") from None
        except ValueError:  # the message of a TOML error can quote a key
            raise InputError(f"The key file {path} is not TOML in UTF-8. See `Serving`.") from None
        entries = tables.pop("key", [])
        if tables or not isinstance(entries, list) or not entries:
            raise InputError(f"The key file {path} must consist of [[key]] tables, at least one.")
        return cls(_parsed(entry, f"{path}, key {n}") for n, entry in enumerate(entries, start=1))


def _parsed(entry: object, place: str) -> Key:
    """Return the key of a table in a file."""
    if not isinstance(entry, dict):
        raise InputError(f"{place}: must be a [[key]] table.")
    if unknown := sorted(entry.keys() - _FIELDS):
        raise InputError(f"{place}: there is no {shown(unknown[0])}. Use {sorted(_FIELDS)}.")
    name = entry.get("name", place.rpartition(", ")[2])
    if not isinstance(name, str) or not name.isprintable():
        raise InputError(f"{place}: name must be a printable string.")
    access = entry.get("access", "read")
    if access not in ("read", "write"):
        raise InputError(f'{place}: access must be "read" or "write", got {shown(access)}.')
    bases = entry.get("knowledge_bases")
    if bases is not None and not (
        isinstance(bases, list) and bases and all(isinstance(base, str) for base in bases)
    ):
        raise InputError(f"{place}: knowledge_bases must be a list of names.")
    where = entry.get("filter")
    try:
        parse_filter(where)
    except InputError as error:
        raise InputError(f"{place}: the filter is not valid. {error}") from None
    names = None if bases is None else frozenset(bases)
    return Key(name, _digest_of(entry, place), access == "write", names, where)


def _digest_of(entry: Mapping[str, Any], place: str) -> bytes:
    if ("key" in entry) == ("sha256" in entry):
        raise InputError(f"{place}: give either key or sha256.")
    if "key" in entry:
        return _digest(entry["key"], place)
    try:
        digest = bytes.fromhex(entry["sha256"])
    except (TypeError, ValueError):
        digest = b""
    if len(digest) * 2 != _HEX:
        raise InputError(f"{place}: sha256 must be {_HEX} hexadecimal digits.")
    return digest


def _digest(text: object, place: str) -> bytes:
    check_key(text)
    assert isinstance(text, str)  # checked
    if len(text) < _LEAST:
        raise InputError(
            f"{place} has {len(text)} characters, which can be guessed; at least {_LEAST} are "
            "needed. Make one: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return sha256(text.encode()).digest()


def load_keys(api_key: str | None = None, file: Path | None = None) -> Keys:
    """Return the keys of a file, and one that allows everything; none without either.

    Raises:
        InputError: The file or a key is not valid. The message shows no key.
    """
    keys = Keys() if file is None else Keys.read(file)
    return keys if api_key is None else keys + Keys.of(api_key)
