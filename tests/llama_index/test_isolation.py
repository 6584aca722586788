"""Imports, examples in docstrings, and errors for missing packages."""

import doctest
import subprocess
import sys
from importlib import import_module

import pytest
from llama_index.core import VectorStoreIndex, schema
from llama_index.core.llms import ChatMessage

import m3rag.llama_index

MODULES = (
    "answers",
    "auto_merging",
    "document_store",
    "embeddings",
    "memory_block",
    "node_parser",
    "nodes",
    "reader",
    "rerank",
    "retrievers",
    "sections",
    "sentence_splitter",
    "tool",
    "vectorstore",
)

BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
"""


def run(code, *, blocked=()):
    program = BLOCK.format(blocked=blocked) + code
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )


def test_exported_names():
    for name in m3rag.llama_index.__all__:
        assert getattr(m3rag.llama_index, name).__doc__
    assert m3rag.llama_index.__all__ == sorted(m3rag.llama_index.__all__, key=str)


@pytest.mark.parametrize("name", [*MODULES])
def test_examples_in_docstrings_run(name):
    module = import_module(f"m3rag.llama_index.{name}")
    names = {**vars(m3rag), **vars(schema), **vars(m3rag.llama_index)}
    names |= {"VectorStoreIndex": VectorStoreIndex, "M3Model": m3rag.M3Model}
    names |= {"M3Index": m3rag.M3Index, "ChatMessage": ChatMessage}
    done = doctest.testmod(module, extraglobs=names)
    assert done.failed == 0
    assert done.attempted


def test_m3rag_imports_no_framework():
    code = "import m3rag, sys; print([m for m in sys.modules if m.startswith(('llama', 'lang'))])"
    assert run(code).stdout == "[]\n"


@pytest.mark.slow
def test_llama_index_does_not_need_langchain():
    blocked = ("langchain", "langchain_core", "langchain_text_splitters", "langsmith")
    code = """
import m3rag.llama_index, sys
print([name for name in sys.modules if name.startswith(("langchain", "m3rag.langchain"))])
"""
    done = run(code, blocked=blocked)
    assert done.stdout == "[]\n", done.stderr


def test_without_llama_index_the_core_works():
    code = "import m3rag; m3rag.M3Index, m3rag.M3Model; print('works')"
    done = run(code, blocked=("llama_index", "langchain_core"))
    assert done.stdout == "works\n", done.stderr


def test_without_llama_index_the_error_names_the_extra():
    done = run("import m3rag.llama_index", blocked=("llama_index",))
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("m3rag.errors.MissingExtraError: llama_index.core is not installed.")
    assert last.endswith('pip install "m3rag[llama-index]"')
    assert "During handling" not in done.stderr
