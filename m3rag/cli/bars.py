"""Progress bars on standard error. Commands import them when they run: help needs none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskProgressColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.progress import TextColumn as RichTextColumn

from m3rag.cli.output import Terminal, guard_stderr
from m3rag.cli.visible import line

if TYPE_CHECKING:
    from m3rag.progress import Progress
    from m3rag.training import Report


class Bars(RichProgress):
    """Progress bars that show what other libraries write to standard error as data."""

    def __init__(self, *columns: Any, console: Terminal) -> None:
        super().__init__(*columns, console=console, redirect_stdout=False)

    def start(self) -> None:
        """Start showing the bars; rich then redirects standard error."""
        super().start()
        guard_stderr()


class TextColumn(RichTextColumn):
    """A column in which rich interprets no markup."""

    def __init__(self, text_format: str) -> None:
        super().__init__(text_format, markup=False)


@contextmanager
def stage_bars() -> Iterator[Progress]:
    """Show a bar for each stage on standard error."""
    bar = Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Terminal(stderr=True),
    )
    tasks: dict[str, Any] = {}

    def report(stage: str, done: int, total: int | None, /) -> None:
        if stage not in tasks:
            tasks[stage] = bar.add_task(line(stage))
        bar.update(tasks[stage], completed=done, total=total)

    with bar:
        yield report


@contextmanager
def counter(unit: str) -> Iterator[Progress]:
    """Show how many units are done on standard error."""
    bar = Bars(
        SpinnerColumn(),
        TextColumn(f"{{task.completed:,}} {unit}"),
        TimeElapsedColumn(),
        console=Terminal(stderr=True),
    )
    task = bar.add_task(unit, total=None)
    with bar:
        yield lambda _, done, total: bar.update(task, completed=done, total=total)


class IndexingBar(Bars):
    """A bar for the bytes of the files, with the number of passages and their rate."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[passages]} passages, {task.fields[rate]:.1f}/s"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Terminal(stderr=True),
        )
        self._task = self.add_task(
            line(f"Indexing {folder}"), total=None, start=False, passages=0, rate=0.0
        )

    def start_now(self) -> None:
        """Start the clock: loading the model does not count."""
        self.start_task(self._task)

    def report(self, stage: str, done: int, total: int | None, /) -> None:
        """Receive a progress report of `sync`."""
        if stage == "passages":
            elapsed = self.tasks[self._task].elapsed or 0
            self.update(self._task, passages=done, rate=done / elapsed if elapsed else 0.0)
        else:
            self.update(self._task, completed=done, total=total)


class TrainingBar(Bars):
    """A bar for the share of a run that is done, with its step, loss and speed."""

    def __init__(self, console: Terminal) -> None:
        super().__init__(
            SpinnerColumn(),
            TextColumn("step {task.fields[step]}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("loss {task.fields[loss]:.3f}  {task.fields[speed]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self.add_task(
            "train", total=1.0, start=False, step=0, loss=0.0, speed="reading"
        )

    def show(self, report: Report) -> None:
        """Show the report of a step."""
        progress = report.progress
        if not self.tasks[self._task].started:  # the time left is estimated from this process only
            self.start_task(self._task)
        rates = (progress.queries / progress.seconds, progress.tokens / progress.seconds)
        self.update(
            self._task,
            completed=report.done,
            step=progress.step,
            loss=progress.losses["loss"],
            speed="{:,.0f} queries/s  {:,.0f} tokens/s".format(*rates),
        )
