"""The snippets of the documentation pass mypy, which also finds wrong arguments."""

import sys
from pathlib import Path
from subprocess import run

import pytest

from tests.docs.blocks import ROOT, blocks

pytest.importorskip("mypy")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_snippets_pass_mypy_strict(tmp_path):
    page = (ROOT / "docs" / "langchain.md").read_text(encoding="utf-8")
    snippets = [b.content for b in blocks(page) if b.language == "python" and b.run]
    script = tmp_path / "snippets.py"
    script.write_text("\n".join(snippets), encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-pretty", script]
    done = run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert [Path(error.split(":")[0]).name for error in errors] == ["snippets.py"]
    assert (
        'Unexpected keyword argument "max_tokens" for "M3TextSplitter"' in errors[0]
    )  # shown there
