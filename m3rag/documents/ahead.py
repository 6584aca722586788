"""Reading ahead: threads read the next files while the caller works with those before them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from m3rag.documents import parser_process

_FILES = 16  # that are read, or being read, and not used yet
_BYTES = 64 << 20  # of these files, or of what was read from them
_POLL_SECONDS = 0.05

Name = TypeVar("Name")
Result = TypeVar("Result")


def read_ahead(
    read: Callable[[Name], Result],
    sizes: Mapping[Name, int],
    weigh: Callable[[Result], int],
) -> Generator[tuple[Name, Future[Result]], None, None]:
    """Yield each file with what was read from it, in order, and read some of the next meanwhile.

    There are as many threads as parser processes. They stop when 16 files, or 64 MiB, are waiting
    to be used. Close the iterator to stop them earlier, with what they are reading.

    Args:
        read: Reads a file; called in several threads at once. Its error is that of the future.
        sizes: The bytes of each file, by what `read` takes.
        weigh: Returns the bytes, roughly, that the result of `read` takes.
    """
    ahead = _Ahead(read, sizes, weigh)
    try:
        ahead.start(min(parser_process.MOST, len(sizes)))
        yield from ahead.files(len(sizes))
    finally:
        ahead.stop()


@dataclass(slots=True, eq=False)
class _File(Generic[Name, Result]):
    """A file that is being read, or was read."""

    name: Name
    weight: int  # its size, then that of the result
    reading: Future[Result] = field(default_factory=Future)


class _Ahead(Generic[Name, Result]):
    """The threads, and the files that they have begun to read."""

    def __init__(
        self,
        read: Callable[[Name], Result],
        sizes: Mapping[Name, int],
        weigh: Callable[[Result], int],
    ) -> None:
        self._read, self._weigh = read, weigh
        self._todo = deque(sizes.items())
        self._begun: deque[_File[Name, Result]] = deque()
        self._number = self._weight = 0  # of the files that are not used yet
        self._threads: list[threading.Thread] = []
        self._stopped = False
        self._changed = threading.Condition()  # held to change any of these

    def start(self, number: int) -> None:
        """Start the threads, or fewer if the system has no more."""
        for _ in range(number):
            # Python must be able to exit while an iterator is left unused.
            thread = threading.Thread(target=self._work, name="m3rag-read", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return
            self._threads.append(thread)

    def files(self, number: int) -> Iterator[tuple[Name, Future[Result]]]:
        """Yield the files in order."""
        for _ in range(number):
            if not self._threads:
                self._finish(self._begin())
            with self._changed:
                self._changed.wait_for(lambda: self._begun)
                file = self._begun.popleft()
            yield file.name, file.reading
            with self._changed:
                self._number -= 1
                self._weight -= file.weight
                self._changed.notify_all()

    def stop(self) -> None:
        """End the threads, and the parsers that they wait for."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        while running := [thread for thread in self._threads if thread.is_alive()]:
            parser_process.interrupt(running)
            running[0].join(_POLL_SECONDS)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or not self._todo or self._room())
                if self._stopped or not self._todo:
                    return
                file = self._begin()
            self._finish(file)

    def _room(self) -> bool:
        """Return whether the next file may be read."""
        size = self._todo[0][1]
        fits = self._number < _FILES and self._weight + size <= _BYTES
        return fits or not self._number

    def _begin(self) -> _File[Name, Result]:
        with self._changed:
            file: _File[Name, Result] = _File(*self._todo.popleft())
            self._begun.append(file)
            self._number += 1
            self._weight += file.weight
            self._changed.notify_all()
        return file

    def _finish(self, file: _File[Name, Result]) -> None:
        try:
            result = self._read(file.name)
            weight = self._weigh(result)
        except BaseException as error:
            file.reading.set_exception(error)
            weight = 0
        else:
            file.reading.set_result(result)
        with self._changed:
            self._weight += weight - file.weight
            file.weight = weight
            self._changed.notify_all()
