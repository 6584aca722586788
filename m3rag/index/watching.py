"""Keep an index in step with a folder for as long as it is watched."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TypedDict, Unpack

from m3rag.documents import Fields
from m3rag.documents.regular import visible
from m3rag.documents.scanning import is_index
from m3rag.documents.splitting import SpanTokenizer
from m3rag.errors import DocumentError
from m3rag.extras import require
from m3rag.index.changes import Changes
from m3rag.index.index import M3Index
from m3rag.index.listing import list_folder
from m3rag.index.stamps import Stamps, State, state
from m3rag.index.sync import sync
from m3rag.limits import DEFAULT_LIMITS, Limits
from m3rag.progress import Progress

_LONGEST = 10  # times `pause`: after this, changes that go on do not delay a round any longer
_Seen = tuple[dict[str, State | None], dict[str, str]]  # the files, and what cannot be seen


class SyncOptions(TypedDict, total=False):
    """The options of `sync` for a folder, with the same names and meanings."""

    max_tokens: int | None
    overlap: int | None
    exclude: Sequence[str]
    follow_links: bool
    limits: Limits
    fields: Fields
    encoding: str | None
    ocr: str | None
    progress: Progress | None


def watch(
    index: M3Index,
    folder: str | Path,
    tokenizer: SpanTokenizer,
    *,
    pause: float = 0.5,
    stop: threading.Event | None = None,
    **options: Unpack[SyncOptions],
) -> Iterator[Changes]:
    """Sync an index with a folder now, and again each time that something in the folder changes.

    Yields the changes of each round, once they are stored. A round after the first is left out if
    it neither changed the index nor has something else to report. If the folder disappears, or is
    an empty one of the same name, as when a drive is unmounted, the index stays as it is, and
    `failed` says so. The next round begins when the folder is back.

    Args:
        index: See `sync`.
        folder: See `sync`.
        tokenizer: See `sync`.
        pause: The seconds without a change after which a round begins. If changes go on, it begins
            after ten times as long.
        stop: Ends the watching when it is set.
        **options: See `sync`.

    Raises:
        DocumentError: As for `sync`, in the first round; or the folder cannot be watched.
        InputError: As for `sync`.
        MissingExtraError: The extra `watch` is not installed.
    """
    watched = Watch(folder, pause=pause, stop=stop, **options)
    for _ in watched.rounds():
        if (changes := watched.sync(index, tokenizer)) is not None:
            yield changes


class Watch:
    """A folder that is watched, for callers that open their index only for a round.

    Args:
        folder: See `watch`.
        pause: See `watch`.
        stop: See `watch`.
        **options: See `watch`.

    Raises:
        MissingExtraError: The extra `watch` is not installed.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        pause: float = 0.5,
        stop: threading.Event | None = None,
        **options: Unpack[SyncOptions],
    ) -> None:
        require("watchfiles", "watch")
        self.folder = Path(folder).expanduser().resolve()
        # The name of a single file may get another file, so its folder is watched.
        self._single = self.folder.is_file()
        self._root = self.folder.parent if self._single else self.folder
        self._pause = pause
        self._stop = threading.Event() if stop is None else stop
        self._options = options
        self._stamps = Stamps()
        self._last: Changes | None = None
        self._seen: _Seen | None = None  # before the last sync
        self._place: tuple[int, int] | None = None  # that of the folder in the last sync

    def rounds(self) -> Iterator[None]:
        """Yield as soon as changes are noticed, then each time that there is something to sync.

        Raises:
            DocumentError: The folder does not exist at first, or cannot be watched.
        """
        if not self.folder.exists():
            raise DocumentError(
                f"{visible(self.folder)} does not exist. Pass the folder with the documents."
            )
        while not self._stop.is_set():
            if (place := _place(self._root)) is not None:
                yield from self._rounds(place)
            else:
                self._stop.wait(self._pause)

    def sync(self, index: M3Index, tokenizer: SpanTokenizer) -> Changes | None:
        """Sync an index; return the changes, or None if there is nothing new to report.

        Raises:
            DocumentError: In the first round, as for `sync`.
            InputError: As for `sync`.
        """
        self._seen = self._see()
        try:
            self._check_place()
            changes = sync(index, self.folder, tokenizer, stamps=self._stamps, **self._options)
        except DocumentError as error:
            if self._last is None:
                raise
            name = self.folder.name if self._single else f"{self.folder.name}/"
            changes = Changes(failed={name: str(error)})
        before, self._last = self._last, changes
        return changes if before is None or _is_news(changes, before) else None

    def _rounds(self, place: tuple[int, int]) -> Iterator[None]:
        """Yield for the changes in a folder, until it is no longer the same one."""
        from watchfiles import watch as events

        step = max(round(self._pause * 1000), 1)
        found = events(
            self._root,
            watch_filter=partial(_matters, self._root),
            debounce=_LONGEST * step,
            step=step,
            rust_timeout=step,
            yield_on_timeout=True,
            stop_event=self._stop,
            recursive=not self._single,
            ignore_permission_denied=True,
        )
        begun = False
        try:
            for changes in found:
                same = _place(self._root) == place
                if not begun or not same or (changes and self._differs()):
                    yield
                begun = True
                if not same:
                    return
        except FileNotFoundError:  # it has just disappeared
            return
        except OSError as error:
            raise DocumentError(
                f"{visible(self._root)} cannot be watched: {error}. If it has too many folders, "
                "raise the limit (on Linux: sysctl fs.inotify.max_user_watches), or set "
                "WATCHFILES_FORCE_POLLING=1."
            ) from error

    def _differs(self) -> bool:
        """Return whether files are not as they were before the last sync."""
        seen = self._see()
        return seen is None or None in seen[0].values() or seen != self._seen

    def _see(self) -> _Seen | None:
        """Return the states of the files; None if the folder cannot be listed."""
        options = self._options
        try:
            listed = list_folder(
                self.folder,
                exclude=options.get("exclude", ()),
                follow_links=options.get("follow_links", False),
                limits=options.get("limits", DEFAULT_LIMITS),
                ocr=options.get("ocr"),
            )
        except DocumentError:
            return None
        files = {name: state(file) for name, file in listed.files.items() if isinstance(file, Path)}
        return files, listed.changes.failed

    def _check_place(self) -> None:
        """Check that the folder is not one that only looks emptied.

        Raises:
            DocumentError: Another folder has its place, and is empty.
        """
        root, place = self._root, _place(self._root)
        if self._place not in (None, place) and place is not None and not os.listdir(root):
            raise DocumentError(
                f"{visible(root)} is another folder now, and empty. Is its drive mounted? Its "
                "passages are kept until it has files; to remove them, start again."
            )
        self._place = place or self._place


def _is_news(changes: Changes, before: Changes) -> bool:
    """Return whether a round changed the index, or reports something that the last one did not."""
    now, last = asdict(changes), asdict(before)
    done = ("added", "replaced", "removed", "renamed", "passages")
    reports = ("duplicates", "failed", "skipped", "incomplete")
    return any(now[name] for name in done) or any(now[name] != last[name] for name in reports)


def _place(folder: Path) -> tuple[int, int] | None:
    """Return what tells a folder from another one at its path; None if there is no folder."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _matters(root: Path, _change: object, path: str) -> bool:
    """Return whether a path may belong to a document: an index writes into its folder, too."""
    within = Path(path).relative_to(root)
    return not any(is_index(root / part) for part in (within, *within.parents))
