"""The packages in packages/ export the classes of the two framework folders under other names."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import m3rag
import m3rag.langchain
import m3rag.llama_index

PACKAGES = sorted((Path(__file__).parents[1] / "packages").iterdir())
CODE = """
import importlib, sys
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    for exported in module.__all__:
        print(name, exported, getattr(module, exported).__module__)
"""


def module_of(package):
    [init] = package.rglob("__init__.py")
    return init.parent.relative_to(package).as_posix().replace("/", ".")


@pytest.fixture(scope="module")
def exported():
    """The names of each module, imported by a new interpreter from the folders."""
    folders = os.pathsep.join(str(package) for package in PACKAGES)
    done = subprocess.run(
        [sys.executable, "-c", CODE, *map(module_of, PACKAGES)],
        env={**os.environ, "PYTHONPATH": folders},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    names: dict[str, set[str]] = {}
    for line in done.stdout.splitlines():
        module, name, source = line.split()
        assert source.startswith("m3rag."), line
        names.setdefault(module, set()).add(name)
    return names


def test_the_langchain_package_exports_all(exported):
    assert exported["langchain_m3rag"] == set(m3rag.langchain.__all__)


def test_the_llama_index_packages_export_each_name_once(exported):
    groups = [names for module, names in exported.items() if module.startswith("llama_index.")]
    assert len(groups) == len(PACKAGES) - 1
    together = set().union(*groups)
    assert sum(map(len, groups)) == len(together)
    assert together <= set(m3rag.llama_index.__all__)
    needed = ("Retriever", "VectorStore", "Reranker", "Embedding", "MemoryBlock")
    assert {name for name in m3rag.llama_index.__all__ if name.endswith(needed)} <= together


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_each_has_the_version_of_m3rag_and_its_module_in_the_hub_entry(package):
    toml = tomllib.loads((package / "pyproject.toml").read_text("utf-8"))
    assert toml["project"]["name"] == package.name
    assert toml["project"]["version"] == m3rag.__version__
    if "tool" in toml and "llamahub" in toml["tool"]:
        assert toml["tool"]["llamahub"]["import_path"] == module_of(package)
    assert "Apache License" in (package / "LICENSE").read_text("utf-8")
