"""The fenced blocks of a Markdown file, and the output of running them.

A ```text block right after a ```python block holds its output. In a ```console block, the lines
after a `$ command` are the output of that command. A block after `<!-- not run: … -->` never runs.
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
from typing import get_origin

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SKIPPED = re.compile(r"<!-- not run: [^>]+-->\s*\Z")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page.

    Attributes:
        language: The word after the opening fence; "" if there is none.
        content: The lines between the fences.
        start: Where the content starts in the page.
        end: Where the content ends in the page.
        run: False after a `<!-- not run: … -->`.
    """

    language: str
    content: str
    start: int
    end: int
    run: bool


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a page."""
    return [
        Block(m[1], m[2], m.start(2), m.end(2), not _SKIPPED.search(text[: m.start()]))
        for m in _FENCE.finditer(text)
    ]


def python_outputs(text: str) -> Iterator[tuple[Block, Block | None, str]]:
    """Run the Python blocks of a page in one namespace and yield what they print.

    Objects in the namespace that have a `close` method are closed at the end.

    Yields:
        Each Python block, the ```text block with its output if there is one, and what it printed.
    """
    namespace: dict[str, object] = {"__name__": "page"}
    page_blocks = blocks(text)
    try:
        for block, after in zip_longest(page_blocks, page_blocks[1:]):
            if block.language != "python" or not block.run:
                continue
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(block.content, "page", "exec"), namespace)
            is_output = after and after.language == "text" and not _between(text, block, after)
            yield block, after if is_output else None, printed.getvalue()
    finally:
        for value in reversed(list(namespace.values())):
            is_type = isinstance(value, type) or get_origin(value) is not None
            if not is_type and hasattr(value, "close"):
                value.close()


def _between(text: str, block: Block, after: Block) -> str:
    """Return what is between two blocks, without fences and white space."""
    return re.sub(r"```(text)?|\s", "", text[block.end : after.start])


def commands(block: Block) -> list[str]:
    """Return the commands of a ```console block, with continued lines joined."""
    joined = block.content.replace("\\\n", " ")
    return [line[2:] for line in joined.splitlines() if line.startswith("$ ")]


def shell(command: str, folder: Path) -> str:
    """Return the standard output of a command, as on a terminal 88 characters wide.

    Raises:
        RuntimeError: The exit status is not 0.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "COLUMNS": "88", "NO_COLOR": "1", "TERM": "dumb"}
    result = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise RuntimeError(f"{command}: exit status {result.returncode}\n{result.stderr}")
    lines = result.stdout.replace(str(folder), "/home/you").splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines).rstrip("\n") + "\n"
