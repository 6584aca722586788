"""The distributions of this repository: how they are built, and what has to be in them."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterable
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement

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
    "scripts/wheels.py",
    *("requirements/runtime.txt", "requirements/torch-cpu.sha256", "THIRD-PARTY.md"),
)


class DistError(Exception):
    """A check of the distributions failed."""


def say(text: str) -> None:
    """Print a line at once, so that it stands between the output of the commands."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _build(project: Path, to: Path, *kind: str) -> None:
    tool = (sys.executable, "-m", "build", "--no-isolation", *kind)
    subprocess.run([*tool, "--outdir", str(to), str(project)], check=True)


def build(source: Path, to: Path) -> tuple[Path, Path, Path]:
    """Build with the locked tools, and return the wheel, the sdist and the wheel of "small"."""
    for old in (*to.glob("*.whl"), *to.glob("*.tar.gz")):
        old.unlink()
    _build(source, to)
    [wheel], [sdist] = to.glob("*.whl"), to.glob("*.tar.gz")
    _build(source / "models" / "small", to, "--wheel")
    [model] = to.glob("m3rag_small-*.whl")
    return wheel, sdist, model


def build_thin(source: Path, to: Path) -> list[Path]:
    """Build the packages that only export names, and return their wheels.

    Raises:
        DistError: A version is not m3rag's, or a package does not fit m3rag.
    """
    version = version_of(source)
    wheels = []
    for project in sorted((source / "packages").iterdir()):
        _build(project, to, "--wheel")
        wheel = to / f"{project.name.replace('-', '_')}-{version}-py3-none-any.whl"
        if not wheel.exists():
            raise DistError(f"{project.name} has another version than m3rag, {version}.")
        with ZipFile(wheel) as archive:
            names = archive.namelist()
            info = f"{wheel.name.split('-')[0]}-{version}.dist-info"
            metadata = HeaderParser().parsestr(archive.read(f"{info}/METADATA").decode())
        need(wheel, names, [f"{info}/licenses/LICENSE", *thin_files(project)])
        if version not in Requirement(metadata["Requires-Dist"]).specifier:
            raise DistError(f"{wheel.name} asks for {metadata['Requires-Dist']}, not {version}.")
        wheels.append(wheel)
    return wheels


def thin_files(project: Path) -> list[str]:
    """Return the modules and typing markers of a package in packages/."""
    found = (*project.rglob("*.py"), *project.rglob("py.typed"))
    return [path.relative_to(project).as_posix() for path in found]


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
