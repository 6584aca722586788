"""The address of an index behind a server."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from m3rag.encoder import Model
from m3rag.errors import FormatError
from m3rag.http.client import TIMEOUT, Server
from m3rag.model.remote import RemoteModel
from m3rag.stores.base import Widths
from m3rag.stores.remote.store import RemoteStore


class RemoteLocation:
    """An index of an `m3rag serve`, by its address.

    Any number of processes may open it. The server's model encodes, unless a model is given.

    Args:
        url: The address, such as "http://127.0.0.1:8080/kb".
        api_key: The key; by default that of the environment variable M3RAG_API_KEY. It is sent to
            this server only, and is in no message and no pickle.
        timeout: The seconds within which each request must be answered.

    Attributes:
        url: The address.

    Raises:
        InputError: The URL is none of a knowledge base, or the key cannot be sent.
    """

    engine: ClassVar[str] = "m3rag-serve"
    path: ClassVar[Path | None] = None

    def __init__(self, url: str, *, api_key: str | None = None, timeout: float = TIMEOUT) -> None:
        self._server = Server(url, api_key=api_key, timeout=timeout)
        self.url = self._server.url

    def __str__(self) -> str:
        return self.url

    def exists(self) -> bool:
        """Return True.

        Raises:
            FormatError: The server has no knowledge base of the name.
            StorageError: The server cannot be reached.
        """
        self._server.call("open")
        return True

    def check_new(self, *, create: bool) -> None:
        """Raise an error: a server makes its knowledge bases itself.

        Raises:
            FormatError: Always.
        """
        raise FormatError(f"{self} is no index. Start its server with it: m3rag serve --in KB.")

    def label(self, name: str) -> str:
        """Return the name of a record with the address."""
        return f"{name} of {self}"

    def read(self, name: str) -> bytes | None:
        """Return a record; None if it does not exist."""
        body, _ = self._server.call("read_record", {"name": name})
        content = body.get("content")
        return content.encode() if isinstance(content, str) else None

    def write(self, name: str, content: bytes) -> None:
        """Write a record."""
        body = {"name": name, "content": content.decode()}
        self._server.call("write_record", body, writes=True)

    def open_store(self, widths: Widths) -> RemoteStore:
        """Return the store, which has connections of its own."""
        return RemoteStore(self._server)

    def model(self) -> Model:
        """Return the index's own model, which encodes on the server."""
        return RemoteModel(self._server)
