"""The `m3rag` command: its subcommands, and how it reports errors."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from m3rag import __version__
from m3rag.cli import train as training
from m3rag.cli.ask import ask
from m3rag.cli.encode import encode
from m3rag.cli.evaluate import evaluate
from m3rag.cli.explain import explain
from m3rag.cli.index import index
from m3rag.cli.info import delete, info
from m3rag.cli.tune import tune
from m3rag.errors import M3Error

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Cross-lingual question answering over long documents with one BGE-M3 model.",
    epilog="Try it offline: [bold]m3rag index ./handbook --to kb --model tiny[/bold], then "
    '[bold]m3rag ask "¿Cómo riego la planta?" --in kb[/bold]',
)
for command in (index, ask, explain, info, delete, encode, evaluate, tune):
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
    """Run the command; an `M3Error` is printed as one line, without a traceback."""
    try:
        app()
    except M3Error as error:
        errors = Console(stderr=True)
        errors.print(f"[bold red]Error:[/] {type(error).__name__}:", end=" ")
        errors.print(str(error), markup=False, highlight=False)
        raise SystemExit(1) from None
