"""What `m3rag index` prints about its changes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from m3rag.cli.output import Terminal, print_json

if TYPE_CHECKING:
    from m3rag.index.changes import Changes

_KINDS = 8  # of files and patterns that a line names
_ENTRIES = 100  # that have a line of their own, of each sort


def print_changes(
    changes: Changes, to: str, total: int, *, as_json: bool, before: Changes | None = None
) -> None:
    """Print the result of a sync.

    Args:
        changes: The result.
        to: The knowledge base.
        total: The number of its passages.
        as_json: Whether to print JSON, with everything.
        before: The result of the round before, of a folder that is watched: what it reported is not
            printed again, and a line begins with the time.
    """
    if as_json:
        print_json({"kb": to, "total": total, **asdict(changes)})
        return
    console = Terminal()
    start = ""
    if before is not None:
        start = f"{datetime.now():%H:%M:%S}  "
        changes = _news(changes, before)
    stored = f"{changes.passages} passages stored, {total} in {to}."
    console.say(f"{start}{_counts(changes)}; {stored}")
    if changes.removed and not _left(changes):
        name = changes.removed[0].split("/")[0]
        again = "If they are only away, bring them back and run the command again."
        console.say(f"{name} has no documents any more. {again}")
    if changes.other:
        number = sum(changes.other.values())
        kinds = {suffix or "without a suffix": n for suffix, n in changes.other.items()}
        console.say(f"{number} files skipped: {_largest(kinds, 'kinds')}.")
    if changes.excluded:
        patterns = Counter(f"by {pattern}" for pattern in changes.excluded.values())
        console.say(f"{len(changes.excluded)} excluded: {_largest(patterns, 'patterns')}.")
    _list(console, "skipped", "yellow", changes.skipped)
    _list(console, "incomplete", "yellow", changes.incomplete)
    _list(console, "not indexed", "red", changes.failed)


def _news(changes: Changes, before: Changes) -> Changes:
    """Return what a round did, and what it reports and the one before did not."""

    def new(now: dict[str, Any], last: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in now.items() if last.get(name) != value}

    return replace(
        changes,
        duplicates=new(changes.duplicates, before.duplicates),
        failed=new(changes.failed, before.failed),
        skipped=new(changes.skipped, before.skipped),
        excluded=new(changes.excluded, before.excluded),
        other=new(changes.other, before.other),
        incomplete=new(changes.incomplete, before.incomplete),
    )


def _counts(changes: Changes) -> str:
    counts = {
        "added": changes.added,
        "replaced": changes.replaced,
        "renamed": changes.renamed,
        "unchanged": changes.unchanged,
        "equal to another": changes.duplicates,
        "removed": changes.removed,
    }
    return ", ".join(f"{len(ids)} {what}" for what, ids in counts.items() if ids) or "no changes"


def _left(changes: Changes) -> bool:
    """Return whether the folder has documents, or something that could not be read."""
    return any((changes.added, changes.replaced, changes.renamed, changes.unchanged)) or bool(
        changes.duplicates or changes.failed
    )


def _largest(counts: Mapping[str, int], what: str) -> str:
    """Return the largest counts, such as "20 .psd, 12 .mp4, 9 of 4 other kinds"."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if len(ordered) <= _KINDS + 1:
        return ", ".join(f"{number} {name}" for name, number in ordered)
    shown, rest = ordered[:_KINDS], ordered[_KINDS:]
    parts = [f"{number} {name}" for name, number in shown]
    number = sum(number for _, number in rest)
    return ", ".join([*parts, f"{number} of {len(rest)} other {what}"])


def _list(console: Terminal, what: str, colour: str, entries: Mapping[str, str]) -> None:
    """Print a line for each entry, and for the rest of very many."""
    label = Text(f"{what}:", f"bold {colour}")
    for entry, reason in list(entries.items())[:_ENTRIES]:
        console.say(label, f" {entry}: {_without_path(reason, entry)}")
    if (more := len(entries) - _ENTRIES) > 0:
        console.say(label, f" {more} more; --json lists all.")


def _without_path(reason: str, entry: str) -> str:
    """Return a reason that does not repeat the path of the entry, which stands before it."""
    name = entry.partition("/")[2] or entry
    path, found, rest = reason.partition(f"{name} ")
    return f"It {rest}" if found and (not path or os.path.isabs(path)) else reason
