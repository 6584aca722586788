"""The package as a whole: exported names, layers, and cheap imports."""

import subprocess
import sys
from importlib import import_module

import pytest

import m3rag

HEAVY = ("torch", "transformers", "langchain_core", "llama_index", "qdrant_edge", "numpy")


def modules_after(code):
    """Return the modules of `HEAVY` that are loaded after running code in a new interpreter."""
    code += f"; import sys; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_every_exported_name_exists():
    for name in m3rag.__all__:
        assert getattr(m3rag, name) is not None
    assert len(set(m3rag.__all__)) == len(m3rag.__all__)
    assert set(m3rag.__all__) <= set(dir(m3rag))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'M4Model'"):
        _ = m3rag.M4Model


@pytest.mark.parametrize("package", ["model", "scoring", "documents", "index"])
def test_exported_names_of_subpackages_exist(package):
    module = import_module(f"m3rag.{package}")
    for name in module.__all__:
        assert getattr(module, name) is not None


def test_importing_m3rag_imports_nothing_heavy():
    assert modules_after("import m3rag") == set()


def test_documents_scoring_and_index_need_no_torch():
    for package in ("documents", "scoring", "index"):
        assert modules_after(f"import m3rag.{package}") <= {"numpy"}


def test_the_core_imports_no_framework():
    loaded = modules_after('from m3rag import M3Model, M3Index; M3Model.load("tiny")')
    assert loaded.isdisjoint({"langchain_core", "llama_index"})


def test_imports_follow_the_layers():
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 kept, 0 broken" in done.stdout
