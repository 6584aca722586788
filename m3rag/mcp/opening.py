"""Knowledge bases that open in the background: a server answers before its model is loaded."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TypeGuard

from m3rag.bases import KnowledgeBases, check_exists, named
from m3rag.closing import Closing
from m3rag.errors import ClosedError


class OpeningBases(Closing):
    """Knowledge bases of which only the names are known at first.

    A host starts a server and expects an answer within seconds, but importing torch and loading a
    model can take longer. `start` opens them in a thread, and `get` waits for it. If they cannot be
    opened, because another program has one of them open for example, each `get` tries again.

    Attributes:
        names: The names, in the order in which they were given.

    Raises:
        InputError: Two have the same name, or a name is not possible.
        FormatError: There is no knowledge base in a place.
        StorageError: The server of a URL cannot be reached.
    """

    def __init__(self, specs: Sequence[str]) -> None:
        places = named(specs)
        for place in places.values():
            check_exists(place)
        self.names = tuple(places)
        self._specs = tuple(specs)
        self._lock = threading.Lock()
        self._closed = False
        self._opening: Future[KnowledgeBases] | None = None

    @property
    def ready(self) -> bool:
        """Whether `get` returns at once."""
        return _is_open(self._opening)

    def start(self) -> None:
        """Begin to open them, unless they are open or opening."""
        self._future()

    def get(self) -> KnowledgeBases:
        """Return the open knowledge bases; waits until they are open.

        Raises:
            M3Error: One of them cannot be opened.
            ClosedError: They were closed.
        """
        return self._future().result()

    def close(self) -> None:
        """Close what is open; a second call does nothing."""
        with self._lock:
            self._closed = True
            opening = self._opening
        if _is_open(opening):
            opening.result().close()

    def _future(self) -> Future[KnowledgeBases]:
        with self._lock:
            if self._closed:
                raise ClosedError("The knowledge bases are closed, because the server ends.")
            if self._opening is None or (self._opening.done() and not _is_open(self._opening)):
                self._opening = Future()
                # A daemon: a process that is told to end does not wait for a model.
                threading.Thread(
                    target=self._open, args=[self._opening], name="m3rag-open", daemon=True
                ).start()
            return self._opening

    def _open(self, opening: Future[KnowledgeBases]) -> None:
        try:
            opened = KnowledgeBases.open(self._specs)
        except BaseException as error:
            opening.set_exception(error)
            return
        opening.set_result(opened)
        with self._lock:
            closed = self._closed
        if closed:  # meanwhile
            opened.close()


def _is_open(opening: Future[KnowledgeBases] | None) -> TypeGuard[Future[KnowledgeBases]]:
    """Return whether opening has ended, with success."""
    return opening is not None and opening.done() and opening.exception() is None
