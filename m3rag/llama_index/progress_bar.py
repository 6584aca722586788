"""LlamaIndex's progress bar for the reports of an index."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from m3rag.progress import Progress


@contextmanager
def shown_progress(progress: Progress | None, show_progress: bool) -> Iterator[Progress | None]:
    """Yield a callback that calls `progress`, and moves a bar if `show_progress` is true."""
    if not show_progress:
        yield progress
        return
    from tqdm.auto import tqdm  # type: ignore[import-untyped]  # warns in some notebooks

    with tqdm() as bar:

        def report(stage: str, done: int, total: int | None, /) -> None:
            bar.set_description(stage.capitalize(), refresh=False)
            bar.total = total
            bar.update(done - bar.n)
            if progress is not None:
                progress(stage, done, total)

        yield report
