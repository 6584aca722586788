"""The Python blocks of the frameworks' pages pass mypy, which also finds wrong arguments."""

import re
import sys
from subprocess import run

import pytest

from tests.docs.blocks import ROOT, blocks

pytest.importorskip("mypy")

PAGES = {  # with the errors that they show on purpose
    "langchain": ['Unexpected keyword argument "max_tokens" for "M3TextSplitter"'],
    "cookbook_langchain": [],
    "llama_index": [],
    "cookbook_llama_index": [],
}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_pages_pass_mypy_strict(tmp_path):
    """One process checks all pages: it takes seconds, or a minute without mypy's cache."""
    for page in PAGES:
        text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
        code = [b.content for b in blocks(text) if b.language == "python" and b.run]
        (tmp_path / f"page_{page}.py").write_text("\n".join(code), encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-pretty", *tmp_path.glob("*.py")]
    done = run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert not done.stderr
    found: dict[str, list[str]] = {page: [] for page in PAGES}
    for page, message in re.findall(r"page_(\w+)\.py:\d+: error: (.*?)  \[", done.stdout):
        found[page].append(message)
    assert found == PAGES, done.stdout
