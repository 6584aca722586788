"""Build the wheels and the sdist, check what is in them, and try them in an empty environment.

    python scripts/dist.py [--no-try] [--source FOLDER] [--to FOLDER]

The checks: every module of the package, `py.typed`, the licences and the bundled model are in the
wheel, and nothing beside the package; the version is that of `m3rag/__init__.py`; the sizes. The
model "small" has a wheel of its own, from models/small. The trial, in a new virtual environment:
`import m3rag` and a search work with the core dependencies alone; what needs an extra names it;
with the extras the command line indexes a folder with "small" and answers.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import venv
from collections.abc import Iterable
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
MIB = 2**20
WHEEL_LIMIT, SDIST_LIMIT = 30 * MIB, 40 * MIB
SMALL_LIMIT = 100_000_000 // MIB * MIB  # PyPI takes files of 100 MB

MODEL = "m3rag/bundled/tiny"
WHEEL = (
    "m3rag/py.typed",
    *(f"{MODEL}/{name}" for name in ("LICENSE", "config.json", "tokenizer.json")),
    *(f"{MODEL}/{name}" for name in ("model.safetensors", "sparse_linear.pt", "colbert_linear.pt")),
)
SMALL = (
    *("LICENSE", "README.md", "config.json", "tokenizer.json.gz", "model.safetensors.index.json"),
    *("model-words.safetensors", "model-layers.safetensors"),
    *("sparse_linear.pt", "colbert_linear.pt"),
)
SDIST = (
    *WHEEL,
    *("LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "pyproject.toml", "Makefile"),
    *("constraints.txt", "mkdocs.yml", "docs/index.md", "tests/conftest.py", "scripts/dist.py"),
    *("requirements/runtime.txt", "requirements/torch-cpu.sha256", "THIRD-PARTY.md"),
)

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


class DistError(Exception):
    """A check of the distributions failed."""


def say(text: str) -> None:
    """Print a line at once, so that it stands between the output of the commands."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def build(source: Path, to: Path) -> tuple[Path, Path, Path]:
    """Build with the locked tools, and return the wheel, the sdist and the wheel of "small"."""
    for old in (*to.glob("*.whl"), *to.glob("*.tar.gz")):
        old.unlink()
    tool = (sys.executable, "-m", "build", "--no-isolation")
    subprocess.run([*tool, "--outdir", str(to), str(source)], check=True)
    [wheel], [sdist] = to.glob("*.whl"), to.glob("*.tar.gz")
    small = source / "models" / "small"
    subprocess.run([*tool, "--wheel", "--outdir", str(to), str(small)], check=True)
    [model] = to.glob("m3rag_small-*.whl")
    return wheel, sdist, model


def version_of(source: Path) -> str:
    """Return the version in `m3rag/__init__.py`."""
    text = (source / "m3rag" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if found is None:
        raise DistError("m3rag/__init__.py has no line `__version__ = …`.")
    return found[1]


def check_wheel(wheel: Path, source: Path) -> None:
    """Check a wheel's names, version and size.

    Raises:
        DistError: Something is missing, superfluous, or too large.
    """
    version = version_of(source)
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(f"m3rag-{version}.dist-info/METADATA").decode()
    info = f"m3rag-{version}.dist-info"
    modules = (p.relative_to(source).as_posix() for p in (source / "m3rag").rglob("*.py"))
    licences = (f"{info}/licenses/LICENSE", f"{info}/licenses/{MODEL}/LICENSE")
    need(wheel, names, (*WHEEL, *licences, *modules))
    if foreign := [name for name in names if not name.startswith(("m3rag/", f"{info}/"))]:
        raise DistError(f"{wheel.name} holds more than the package: {foreign[:5]}.")
    if junk := [name for name in names if "__pycache__" in name or name.endswith(".ipynb")]:
        raise DistError(f"{wheel.name} holds {junk[:5]}.")
    if links := re.findall(r"\]\((?!https?://|#)([^)]+)", metadata):
        raise DistError(f"{wheel.name}: the description has relative links to {links[:5]}.")
    if (found := HeaderParser().parsestr(metadata)["Version"]) != version:
        raise DistError(f"{wheel.name} has version {found}, m3rag/__init__.py {version}.")
    weigh(wheel, WHEEL_LIMIT)


def check_small(wheel: Path, source: Path) -> None:
    """Check that the wheel of "small" fits the extra and has the model, and nothing else.

    Raises:
        DistError: Something is missing, superfluous, or too large.
    """
    project = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    [line] = project["optional-dependencies"]["small"]
    version = wheel.name.split("-")[1]
    if version not in Requirement(line).specifier:
        raise DistError(f"{wheel.name} does not fit {line!r}, which m3rag asks for.")
    with ZipFile(wheel) as archive:
        names = archive.namelist()
    need(wheel, names, [f"m3rag_small/model/{name}" for name in SMALL])
    own = ("m3rag_small/__init__.py", "m3rag_small/model/", f"m3rag_small-{version}.dist-info/")
    if foreign := [name for name in names if not name.startswith(own) or "__pycache__" in name]:
        raise DistError(f"{wheel.name} holds more than the model: {foreign[:5]}.")
    weigh(wheel, SMALL_LIMIT)


def check_sdist(sdist: Path, source: Path) -> None:
    """Check an sdist's names and size.

    Raises:
        DistError: Something is missing, superfluous, or too large.
    """
    root = f"m3rag-{version_of(source)}/"
    with tarfile.open(sdist) as archive:
        names = [name.removeprefix(root) for name in archive.getnames()]
    need(sdist, names, SDIST)
    if junk := [name for name in names if re.search(r"__pycache__|^\.venv|^site/|^dist/", name)]:
        raise DistError(f"{sdist.name} holds {junk[:5]}.")
    weigh(sdist, SDIST_LIMIT)


def need(archive: Path, names: Iterable[str], wanted: Iterable[str]) -> None:
    """Check that an archive holds all wanted names."""
    if missing := sorted(set(wanted) - set(names)):
        raise DistError(f"{archive.name} lacks {', '.join(missing)}.")


def weigh(archive: Path, limit: int) -> None:
    """Print an archive's size and check that it is within the limit."""
    size = archive.stat().st_size
    say(f"{archive.name}: {size / MIB:.1f} MiB, at most {limit / MIB:.0f}")
    if size > limit:
        raise DistError(f"{archive.name} has {size / MIB:.1f} MiB, more than {limit / MIB:.0f}.")


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
        if not given.no_try:
            home = Path(tempfile.mkdtemp(prefix="m3rag-dist-"))
            try:
                trial = Trial(home, wheel.resolve(), small.resolve())
                trial.core()
                trial.extras(version_of(given.source))
            finally:
                shutil.rmtree(home, ignore_errors=True)
    except DistError as error:
        say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
