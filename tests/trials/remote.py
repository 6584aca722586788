"""A store in a process of its own, which a test can kill."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from m3rag.errors import M3Error
from tests.stores.stores import FACTORIES
from tests.trials.versions import points

_TIMEOUT_S = 60
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])


class RemoteStore:
    """The methods of a store, called in another process.

    Points are sent as ids and versions.

    Args:
        kind: The name of the store in `FACTORIES`.
        folder: Its folder.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        self._ours, theirs = _context.Pipe()
        self._server = _context.Process(target=_serve, args=(theirs, kind, folder), daemon=True)
        self._server.start()
        theirs.close()
        self._answer()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return a function that calls a method of the store."""

        def call(*args: Any, **options: Any) -> Any:
            self.begin(name, *args, **options)
            return self._answer()

        return call

    def add(self, items: list[tuple[str, int]], *, durable: bool = False) -> None:
        """Add versions of passages."""
        self.begin("add", items, durable=durable)
        self._answer()

    def begin(self, name: str, *args: Any, **options: Any) -> None:
        """Call a method and return at once."""
        self._ours.send((name, args, options))

    def kill(self) -> bool:
        """Kill the process and return whether the method in progress was acknowledged."""
        self._server.kill()
        self._server.join(_TIMEOUT_S)
        try:
            acknowledged = self._ours.poll(0) and self._ours.recv()[0]
        except (EOFError, OSError):
            acknowledged = False
        self._ours.close()
        return bool(acknowledged)

    def close(self) -> None:
        """Close the store and end its process."""
        self.begin("close")
        self._answer()
        self._server.join(_TIMEOUT_S)
        assert self._server.exitcode == 0
        self._ours.close()

    @property
    def engine(self) -> int | None:
        """The process id of the engine; None if it does not run."""
        found: int | None = self.__getattr__("engine")()
        return found

    def _answer(self) -> Any:
        assert self._ours.poll(_TIMEOUT_S), "The store hangs."
        done, value = self._ours.recv()
        if done:
            return value
        raise value


def _serve(theirs: Connection, kind: str, folder: Path) -> None:
    os.setsid()
    try:
        store = FACTORIES[kind](folder)
    except M3Error as error:
        theirs.send((False, error))
        return
    theirs.send((True, None))
    while True:
        name, args, options = theirs.recv()
        try:
            if name == "add":
                args = (points(args[0]),)
            if name == "engine":
                value = getattr(getattr(store, "process", None), "pid", None)
            else:
                value = getattr(store, name)(*args, **options)
        except M3Error as error:
            theirs.send((False, error))
        else:
            theirs.send((True, value))
        if name == "close":
            return


class LocalStore:
    """The same in this process.

    Args:
        kind: The name of the store in `FACTORIES`.
        folder: Its folder.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        self._store = FACTORIES[kind](folder)

    def __getattr__(self, name: str) -> Any:
        """Return what the store has of this name."""
        return getattr(self._store, name)

    def add(self, items: list[tuple[str, int]], *, durable: bool = False) -> None:
        """Add versions of passages."""
        self._store.add(points(items), durable=durable)

    @property
    def engine(self) -> int | None:
        """The process id of the engine; None if it does not run."""
        return getattr(getattr(self._store, "process", None), "pid", None)
