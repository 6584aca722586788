"""`m3rag check`, `m3rag repair`, `m3rag backup` and `m3rag restore`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from m3rag.cli.options import InFolder, Json
from m3rag.cli.output import Terminal, print_json

_SHOWN = 20  # ids of lost passages that are printed


def check(kb: InFolder, as_json: Json = False) -> None:
    """Verify a knowledge base: every checksum, and that nothing is missing.

    It may be open in another process. Exits with status 1 if something is wrong.
    """
    from m3rag.cli.bars import stage_bars
    from m3rag.index import maintenance

    with stage_bars() as progress:
        report = maintenance.check(kb, progress=progress)
    if as_json:
        print_json({"kb": kb, "healthy": report.healthy, **asdict(report)})
    else:
        console = Terminal()
        for problem in report.problems:
            console.say(f"problem: {problem}")
        for note in report.notes:
            console.say(f"note: {note}")
        console.say(
            f"{kb}: {report.found} of {report.expected} passages are intact."
            + ("" if report.healthy else f" Repair it: m3rag repair --in {kb}")
        )
    if not report.healthy:
        raise typer.Exit(1)


def repair(kb: InFolder, as_json: Json = False) -> None:
    """Make a damaged knowledge base usable again, with every passage that is intact.

    Nothing is deleted: damaged files are kept beside the new ones, with the suffix .damaged.
    """
    from m3rag.cli.bars import stage_bars
    from m3rag.index import maintenance

    with stage_bars() as progress:
        report = maintenance.repair(kb, progress=progress)
    if as_json:
        again = [passage.id for passage in report.again]
        found = {"expected": report.expected, "kept": report.kept, "lost": report.lost}
        print_json({"kb": kb, **found, "encoded_again": again, "done": report.done})
        return
    console = Terminal()
    for done in report.done:
        console.say(done)
    for passage_id in report.lost[:_SHOWN]:
        console.say(f"lost: {passage_id}")
    if len(report.lost) > _SHOWN:
        console.say(f"lost: {len(report.lost) - _SHOWN} more")
    if not report.done:
        console.say(f"{kb}: nothing is wrong; all {report.kept} passages are intact.")
    elif report.lost or report.kept + len(report.again) < report.expected:
        console.say("Index the documents again with m3rag index: only what is missing is added.")


def backup(
    kb: InFolder,
    to: Annotated[Path, typer.Option(help="Folder of the copy; new or empty.")],
    as_json: Json = False,
) -> None:
    """Copy a knowledge base as it is at this moment, also while it is in use.

    The copy is verified, and is a knowledge base itself.
    """
    from m3rag.cli.bars import stage_bars
    from m3rag.index import maintenance

    with stage_bars() as progress:
        passages = maintenance.backup(kb, to, progress=progress)
    _print_copied(passages, kb, str(to), as_json=as_json)


def restore(
    source: Annotated[Path, typer.Argument(help="Folder of the backup.")],
    to: Annotated[Path, typer.Option(help="Knowledge base folder; new or empty.")],
    as_json: Json = False,
) -> None:
    """Copy a backup to a new knowledge base, after verifying it."""
    from m3rag.cli.bars import stage_bars
    from m3rag.index import maintenance

    with stage_bars() as progress:
        passages = maintenance.restore(source, to, progress=progress)
    _print_copied(passages, str(source), str(to), as_json=as_json)


def _print_copied(passages: int, source: str, target: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"from": source, "to": target, "passages": passages})
    else:
        Terminal().say(f"{passages} passages copied from {source} to {target} and verified.")
