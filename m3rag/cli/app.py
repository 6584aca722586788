"""The `m3rag` command: its subcommands, and how it ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from m3rag import __version__
from m3rag.cli import train as training
from m3rag.cli.ask import ask
from m3rag.cli.encode import encode
from m3rag.cli.evaluate import evaluate
from m3rag.cli.explain import explain
from m3rag.cli.export import export
from m3rag.cli.index import index
from m3rag.cli.info import delete, info
from m3rag.cli.maintenance import backup, check, repair, restore
from m3rag.cli.mcp import mcp
from m3rag.cli.output import flush, safe_streams
from m3rag.cli.reporting import INTERRUPTED, RaisedError, report
from m3rag.cli.serve import serve
from m3rag.cli.tune import tune


class _Commands(TyperGroup):
    """The group of all commands, which leaves each error to `main`."""

    def invoke(self, ctx: Any) -> Any:  # typer's own context, or click's in older versions
        """Run a command.

        Raises:
            RaisedError: An error for which typer would end the process on its own.
        """
        with _leaving_errors():
            return super().invoke(ctx)

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        """Parse the arguments.

        Raises:
            RaisedError: As for `invoke`.
        """
        with _leaving_errors():
            return super().make_context(*arguments, **settings)


@contextmanager
def _leaving_errors() -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, KeyboardInterrupt) as error:
        raise RaisedError(error) from error


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Cross-lingual question answering over long documents with one BGE-M3 model.",
    epilog="Try it offline: [bold]m3rag index ./handbook --to kb[/bold], then "
    '[bold]m3rag ask "¿Cómo riego la planta?" --in kb[/bold]',
)
for command in (
    *(index, ask, explain, info, delete, check, repair, backup, restore),
    *(serve, mcp, encode, evaluate, tune, export),
):
    app.command()(command)
app.add_typer(training.app, name="train")


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"m3rag {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command; every error is printed as one line, without a traceback."""
    with safe_streams():
        status = _status()
    if status == INTERRUPTED and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends it without a traceback
    raise SystemExit(status)


def _status() -> int:
    """Run the command and return its exit status."""
    try:
        ended = app(standalone_mode=False)
        flush()
    except RaisedError as raised:
        return report(raised.error)
    except Exception as error:  # each one is printed, with its kind
        return report(error)
    except KeyboardInterrupt as error:
        return report(error)
    return ended if isinstance(ended, int) else 0
