"""`m3rag index --watch`: a knowledge base that follows a folder."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from m3rag.cli.index_report import print_changes
from m3rag.cli.output import Terminal
from m3rag.errors import InUseError

if TYPE_CHECKING:
    from m3rag.cli.bars import IndexingBar
    from m3rag.cli.index_options import IndexOptions
    from m3rag.index import M3Index
    from m3rag.index.changes import Changes
    from m3rag.model import M3Model

_RETRY_SECONDS = 1


def watch(
    folder: str,
    to: str,
    settings: IndexOptions,
    *,
    model: str | None,
    bars: IndexingBar,
    as_json: bool,
) -> None:
    """Index a folder, and then each change in it, until Ctrl-C.

    The knowledge base is open only during a round, so that other commands can use it in between.

    Args:
        folder: The folder, or the file.
        to: The knowledge base.
        settings: The options of the command.
        model: The model of a new knowledge base; None if it exists.
        bars: Shows the progress of the first round.
        as_json: Whether to print a JSON object for each round.

    Raises:
        KeyboardInterrupt: It was stopped in the first round.
        MissingExtraError: The extra `watch` is not installed.
    """
    from m3rag.index.manifest import read_manifest
    from m3rag.index.watching import Watch
    from m3rag.model import M3Model
    from m3rag.stores.location import locate

    watched = Watch(folder, progress=bars.report, **settings.of_sync())
    name = read_manifest(locate(to)).model if model is None else model
    before: Changes | None = None
    with ExitStack() as shown, M3Model.load(name) as loaded:
        shown.enter_context(bars)
        try:
            for _ in watched.rounds():
                if before is None:
                    bars.start_now()
                with _opened(to, loaded, settings) as kb:
                    changes = watched.sync(kb, loaded.tokenizer)
                    total = kb.count()
                shown.close()
                if changes is not None:
                    print_changes(changes, to, total, as_json=as_json, before=before)
                    before = changes
        except KeyboardInterrupt:
            if before is None:
                raise


@contextmanager
def _opened(to: str, model: M3Model, settings: IndexOptions) -> Iterator[M3Index]:
    """Open the knowledge base, as soon as no other process uses it."""
    from m3rag.index import M3Index

    told = False
    while True:
        try:
            kb = M3Index.open(
                to, model=model, colbert=settings.colbert, context=settings.context, create=True
            )
            break
        except InUseError as error:
            if not told:
                Terminal(stderr=True).say(f"Waiting. {error}")
            told = True
            time.sleep(_RETRY_SECONDS)
    with kb:
        yield kb
