"""Build the wheels and the sdist, check what is in them, and try them in an empty environment.

    python -m scripts.dist [--no-try] [--source FOLDER] [--to FOLDER]

The checks: every module of the package, `py.typed`, the licences and the bundled model are in the
wheel, and nothing beside the package; the version is that of `m3rag/__init__.py`; the sizes. The
model "small" has a wheel of its own, from models/small. The trial, in a new virtual environment:
`import m3rag` and a search work with the core dependencies alone; what needs an extra names it;
with the extras the command line indexes a folder with "small" and answers. The packages in
packages/ export the classes of `m3rag.langchain` and `m3rag.llama_index` under other names; they
have m3rag's version, and in the trial each name is importable.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from zipfile import ZipFile

from scripts.wheels import (
    DistError,
    build,
    build_thin,
    check_sdist,
    check_small,
    check_wheel,
    say,
    version_of,
)

ROOT = Path(__file__).resolve().parents[1]

CORE = """
import m3rag
from m3rag import M3Index, M3Model

for name in m3rag.__all__:
    getattr(m3rag, name)
model = M3Model.load("tiny")
for path in (None, "index"):
    with M3Index.open(path, model=model) as index:
        index.add(["Water the ferns twice a week.", "The relay is an electric switch."])
        [hit] = index.search("How often are ferns watered?", k=1)
        assert "ferns" in hit.passage.text, hit
"""

WITHOUT_DOCUMENTS = """
import pathlib
import m3rag

pathlib.Path("page.html").write_text("<p>Ferns like shade.</p>")
try:
    m3rag.read("page.html")
except m3rag.M3Error as error:
    assert 'pip install "m3rag[documents]"' in str(error), error
else:
    raise SystemExit("page.html was read without the extra `documents`.")
"""

WITHOUT_SMALL = """
from m3rag import M3Error, M3Model

try:
    M3Model.load("small")
except M3Error as error:
    assert 'pip install "m3rag[small]"' in str(error), error
else:
    raise SystemExit("small was loaded without the extra `small`.")
"""


THIN = """
import importlib
import sys

for name in sys.argv[1:]:
    module = importlib.import_module(name)
    assert module.__all__, name
    for exported in module.__all__:
        getattr(module, exported)
"""


class Trial:
    """A new virtual environment with a wheel in it, and an empty folder to work in."""

    def __init__(self, home: Path, wheel: Path, small: Path) -> None:
        self._wheel, self._small = wheel, small
        self._bin = home / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
        self._folder = home / "work"
        self._folder.mkdir()
        self._environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        venv.create(home / "venv", with_pip=True)

    def run(self, *command: str, status: int = 0) -> str:
        """Run a program of the environment and return what it printed.

        Raises:
            DistError: It ended with another status.
        """
        done = subprocess.run(
            [str(self._bin / command[0]), *command[1:]],
            cwd=self._folder,
            env={**self._environment, "HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "COLUMNS": "100"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            check=False,
        )
        if done.returncode != status:
            shown = " ".join(command)
            raise DistError(f"{shown}: exit status {done.returncode}\n{done.stdout}")
        return done.stdout

    def pip(self, *arguments: str) -> None:
        """Run pip."""
        self.run("python", "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments)

    def core(self) -> None:
        """Try the core dependencies alone."""
        constraints = str(ROOT / "constraints.txt")
        self.pip("install", "--constraint", constraints, "torch")  # first and alone, as in Makefile
        self.pip("install", str(self._wheel))
        self.run("python", "-c", CORE)
        self.run("python", "-c", WITHOUT_DOCUMENTS)
        self.run("python", "-c", WITHOUT_SMALL)
        # transformers brings typer, and typer brings rich: without that they would be missing.
        self.pip("uninstall", "--yes", "typer", "rich")
        for command in (["m3rag", "--version"], ["python", "-m", "m3rag", "--version"]):
            printed = self.run(*command, status=1)
            if 'pip install "m3rag[cli]"' not in printed or "Traceback" in printed:
                raise DistError(f"m3rag without its extra `cli` printed:\n{printed}")
        say("core: imports, searches, and names the missing extras")

    def extras(self, version: str) -> None:
        """Try the command line with all kinds of documents and the model "small"."""
        self.pip("install", "--no-deps", str(self._small))
        self.pip("install", f"{self._wheel}[cli,documents,small]")
        documents = self._folder / "documents"
        documents.mkdir()
        (documents / "ferns.md").write_text("# Ferns\n\nWater the ferns twice a week.\n", "utf-8")
        (documents / "relay.html").write_text("<p>A relay is an electric switch.</p>", "utf-8")
        if (printed := self.run("m3rag", "--version").strip()) != f"m3rag {version}":
            raise DistError(f"`m3rag --version` printed {printed!r}, not 'm3rag {version}'.")
        self.run("m3rag", "index", "documents", "--to", "kb", "--model", "small")
        printed = self.run("m3rag", "ask", "What is a relay?", "--in", "kb")
        if "electric switch" not in printed:
            raise DistError(f"`m3rag ask` printed:\n{printed}")
        self.run("python", "-m", "pip", "check")
        say("extras cli, documents, small: indexes a folder and answers")

    def thin(self, wheels: list[Path]) -> None:
        """Try the packages that only export names."""
        self.pip("install", f"{self._wheel}[agents,llama-index]", *map(str, wheels))
        with_modules = (name for wheel in wheels for name in ZipFile(wheel).namelist())
        files = sorted(name for name in with_modules if name.endswith("/__init__.py"))
        modules = [name.removesuffix("/__init__.py").replace("/", ".") for name in files]
        self.run("python", "-c", THIN, *modules)
        say(f"packages: {', '.join(modules)} export their names")


def main() -> int:
    """Return 0 if every check passed, otherwise 1."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, default=ROOT, help="the folder to build from")
    parser.add_argument("--to", type=Path, default=ROOT / "dist", help="where the files go")
    parser.add_argument("--no-try", action="store_true", help="only build and check")
    given = parser.parse_args()
    given.to.mkdir(parents=True, exist_ok=True)
    try:
        wheel, sdist, small = build(given.source, given.to)
        check_wheel(wheel, given.source)
        check_small(small, given.source)
        check_sdist(sdist, given.source)
        thin = build_thin(given.source, given.to)
        if not given.no_try:
            home = Path(tempfile.mkdtemp(prefix="m3rag-dist-"))
            try:
                trial = Trial(home, wheel.resolve(), small.resolve())
                trial.core()
                trial.extras(version_of(given.source))
                trial.thin([wheel.resolve() for wheel in thin])
            finally:
                shutil.rmtree(home, ignore_errors=True)
    except DistError as error:
        say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
