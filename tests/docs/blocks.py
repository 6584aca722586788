"""The fenced blocks of a Markdown file, and what running them prints.

A ```text block right after a ```python block is what that one prints; in a ```console block the
lines after a `$ command` are what that prints. A block after `<!-- not run: … -->` is never run.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SKIPPED = re.compile(r"<!-- not run: [^>]+-->\s*\Z")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, its content, where that stands in the page."""

    language: str
    content: str
    start: int
    end: int
    run: bool


def blocks(text: str) -> list[Block]:
    return [
        Block(m[1], m[2], m.start(2), m.end(2), not _SKIPPED.search(text[: m.start()]))
        for m in _FENCE.finditer(text)
    ]


def python_outputs(text: str) -> Iterator[tuple[Block, Block | None, str]]:
    """Run a page's Python in one namespace; yields each block, its ```text block, what it printed.

    What has a `close` in the namespace is closed at the end.
    """
    namespace: dict[str, object] = {"__name__": "page"}
    found = blocks(text)
    try:
        for block, after in zip_longest(found, found[1:]):
            if block.language != "python" or not block.run:
                continue
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(block.content, "page", "exec"), namespace)
            direct = after and after.language == "text" and not _between(text, block, after)
            yield block, after if direct else None, printed.getvalue()
    finally:
        for value in reversed(list(namespace.values())):
            if not isinstance(value, type) and hasattr(value, "close"):
                value.close()


def _between(text: str, block: Block, after: Block) -> str:
    return re.sub(r"```(text)?|\s", "", text[block.end : after.start])


def commands(block: Block) -> list[str]:
    """The commands of a ```console block, continued lines joined."""
    joined = block.content.replace("\\\n", " ")
    return [line[2:] for line in joined.splitlines() if line.startswith("$ ")]


def shell(command: str, folder: Path) -> str:
    """What a command prints on standard output, as on a terminal 88 characters wide."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "COLUMNS": "88", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command}: exit status {done.returncode}\n{done.stderr}")
    lines = done.stdout.replace(str(folder), "/home/you").splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines).rstrip("\n") + "\n"
