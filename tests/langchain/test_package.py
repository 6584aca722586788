"""Exports, imports, and errors for missing packages."""

import doctest
import subprocess
import sys
from importlib import import_module

import pytest

import m3rag.langchain
from m3rag.extras import require

NAMES = [
    "M3Embeddings",
    "M3EnsembleRetriever",
    "M3Loader",
    "M3Reranker",
    "M3SparseRetriever",
    "M3TextSplitter",
    "M3Translator",
    "M3VectorStore",
    "checked_answer",
    "found_documents",
    "retrieval_tool",
    "scores_of",
]
BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {module!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
"""


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_exported_names():
    assert m3rag.langchain.__all__ == NAMES
    assert all(hasattr(m3rag.langchain, name) for name in NAMES)


def test_m3rag_imports_no_framework_and_m3rag_langchain_only_its_own():
    done = run(
        "import sys, m3rag.index.rescoring\n"
        "def show():\n"
        "    roots = {name.partition('.')[0] for name in sys.modules}\n"
        "    print(*(n for n in roots if n.startswith(('lang', 'llama', 'qdrant_client'))))\n"
        "show()\n"
        "import m3rag.langchain\n"
        "show()\n"
    )
    core, own = done.stdout.splitlines()
    assert core == ""
    assert "langchain_core" in own.split()
    known = {"langchain_core", "langchain_protocol", "langchain_text_splitters", "langsmith"}
    assert set(own.split()) <= known


def test_the_import_loads_no_torch():
    shown = "import sys; print(sorted({'torch', 'transformers'} & sys.modules.keys()))"
    framework = run(f"import langchain_text_splitters; {shown}")  # that of 1.2 loads transformers
    done = run(f"import m3rag.langchain; {shown}")
    assert done.stdout == framework.stdout
    assert "torch" not in done.stdout


def test_a_missing_extra_names_the_pip_command():
    assert last_line_of_error(missing="langchain_core", module="m3rag.langchain") == (
        "m3rag.errors.MissingExtraError: langchain_core is not installed. "
        'Install it: pip install "m3rag[langchain]"'
    )


def test_a_missing_store_names_the_pip_command():
    assert last_line_of_error(missing="langchain_qdrant", module="m3rag.langchain.qdrant") == (
        "m3rag.errors.MissingExtraError: langchain_qdrant is not installed. "
        'Install it: pip install "m3rag[qdrant]"'
    )


def test_missing_agents_name_the_pip_command():
    module = "m3rag.langchain; m3rag.langchain.M3Store"
    assert last_line_of_error(missing="langgraph", module=module) == (
        "m3rag.errors.MissingExtraError: langgraph is not installed. "
        'Install it: pip install "m3rag[agents]"'
    )


def last_line_of_error(*, missing, module):
    """Return the error of a process that imports a module without the package it needs."""
    done = run(BLOCK.format(module=missing) + f"import m3rag\nimport {module}")
    assert done.returncode == 1
    assert "During handling" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_an_import_error_inside_a_module_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "half_there.py").write_text("import nothing_like_this")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="nothing_like_this"):
        require("half_there", "langchain")


def test_an_installed_module_passes():
    require("json", "langchain")


@pytest.mark.parametrize("name", ["answers", "documents", "embeddings", "graph_store", "loader",
                                  "milvus", "qdrant", "rerank", "retrievers", "splitter", "tool",
                                  "translator", "vectorstore"])  # fmt: skip
def test_examples_in_docstrings_run(name):
    module = import_module(f"m3rag.langchain.{name}")
    results = doctest.testmod(module)
    assert results.failed == 0
    assert results.attempted > 0 or name == "documents"
