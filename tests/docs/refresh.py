"""Renew the outputs of the examples in the documentation: `python -m tests.docs.refresh [PAGE …]`.

Run it when the bundled checkpoint changes, for some pages or for all. Each page runs in a temporary
folder of its own, which has a copy of the example lessons.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
import tempfile
from pathlib import Path

from tests.docs.blocks import PAGES, ROOT, blocks, python_outputs, shell

_COMMAND = re.compile(r"^(\$ (?:[^\n]*\\\n)*[^\n]*\n)((?:(?!\$ )[^\n]*\n)*)", re.MULTILINE)


def fresh(text: str, folder: Path) -> str:
    """Return the page with the output of all its examples renewed."""
    changes = [
        (output.start, output.end, printed)
        for _, output, printed in python_outputs(text)
        if output is not None
    ]
    for block in blocks(text):
        if block.language == "console" and block.run and "$ m3rag" in block.content:
            renewed = _COMMAND.sub(lambda m: m[1] + _printed(m[1], folder), block.content)
            changes.append((block.start, block.end, renewed))
    for start, end, content in sorted(changes, reverse=True):
        text = text[:start] + content + text[end:]
    return text


def _printed(command: str, folder: Path) -> str:
    return shell(command[2:].replace("\\\n", " "), folder)


def main() -> None:
    """Renew the pages named on the command line, or all."""
    chosen = [Path(name).resolve() for name in sys.argv[1:]]
    for page in chosen or PAGES:
        text = page.read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
            shutil.copytree(ROOT / "examples" / "lessons", "examples/lessons")
            renewed = fresh(text, Path(name))
        if renewed != text:
            page.write_text(renewed, encoding="utf-8")
            sys.stdout.write(f"{page.relative_to(ROOT)} renewed\n")


if __name__ == "__main__":
    main()
