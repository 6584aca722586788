"""THIRD-PARTY.md: the licence of every package that m3rag or one of its extras needs.

`make lock` writes the file. The versions are the locked ones, the licences what the packages
declare in their own metadata, which pip reads from the index. The tests compare the list with the
lock files.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from packaging.requirements import Requirement

from scripts.locked import ROOT, LockError, Pin, canonical

TARGET = ROOT / "THIRD-PARTY.md"
HEADER = """\
# Third-party licences

Made by `make lock`; do not edit. These are the packages that `pip install m3rag` and its extras
bring, in the locked versions, with the licences that they declare in their metadata. m3rag's wheel
contains none of them. The licences of m3rag itself are in `LICENSE` and, for the bundled model, in
`m3rag/bundled/tiny/LICENSE`.

The packages marked "cuda" come only with torch's CUDA build for Linux on PyPI. torch's other
builds, for the CPU, macOS and Windows, do not need them.

| package | version | licence | needed by |
|---|---|---|---|
"""
# Free licences without copyleft, and the MPL, whose copyleft ends at the package's own files.
ALLOWED = re.compile(
    r"0BSD|AFL-[\d.]+|Apache-2\.0|BSD|BSD-[23]-Clause|BSL-1\.0|CC0-1\.0|CNRI-Python|ISC"
    r"|LLVM-exception|MIT|MIT-0|MIT-CMU|MPL-2\.0|PSF-2\.0|Zlib"
)
REASONS = {  # a package, or an entry of "needed by": why it may have another licence
    "cuda": "NVIDIA's licence is not free; whoever installs torch with CUDA accepts it.",
    "pypdfium2": "Its wheels bring PDFium (Apache-2.0) and the permissive licences of its parts.",
}
CLASSIFIERS = {
    "Academic Free License (AFL)": "AFL-2.1",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Other/Proprietary License": "LicenseRef-Proprietary",
    "Python Software Foundation License": "PSF-2.0",
}
SPELLINGS = {  # of the older field, which is free text
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache2.0": "Apache-2.0",
    "MIT License": "MIT",
    "NVIDIA Proprietary Software": "LicenseRef-NVIDIA-Proprietary",
}
_WINDOWS = re.compile(r"sys_platform == ['\"]win32['\"]")
_FOR_WINDOWS = ("--platform", "win_amd64", "--only-binary", ":all:", "--python-version", "3.13")


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the list: a package, its licence, and the extras that need it."""

    name: str
    version: str
    licence: str
    needed_by: tuple[str, ...]

    def __str__(self) -> str:
        return f"| {self.name} | {self.version} | {self.licence} | {', '.join(self.needed_by)} |\n"


def licence(metadata: Mapping[str, Any]) -> str:
    """Return the licence that a package's metadata declare, as an SPDX expression if possible."""
    if expression := metadata.get("license_expression"):
        return str(expression)
    first = str(metadata.get("license") or "").strip().split("\n")[0].strip()
    text = SPELLINGS.get(first, first)
    classifiers = [line.split(" :: ") for line in metadata.get("classifier", ())]
    kinds = [parts[-1] for parts in classifiers if parts[0] == "License"]
    named = " OR ".join(CLASSIFIERS.get(kind, kind) for kind in kinds if kind != "OSI Approved")
    if text and not refused(text) and not (named and refused(named)):
        return text  # "BSD-3-Clause" says more than the classifier "BSD License"
    return named or text or "unknown"


def refused(expression: str) -> list[str]:
    """Return the parts of a licence that are not allowed; none if one of its choices is free."""
    parts = re.split(r"\s+(?:AND|WITH|OR)\s+", re.sub(r"[()]", "", expression))
    bad = [part for part in parts if not ALLOWED.fullmatch(part)]
    if "(" in expression:  # every part must be allowed: stricter than the expression
        return bad
    choices = [re.split(r"\s+(?:AND|WITH)\s+", c) for c in re.split(r"\s+OR\s+", expression)]
    return [] if any(set(choice).isdisjoint(bad) for choice in choices) else bad


def check(rows: Iterable[Row]) -> None:
    """Check that every licence is allowed or has a reason.

    Raises:
        LockError: One is neither.
    """
    for row in rows:
        bad = refused(row.licence)
        if bad and REASONS.keys().isdisjoint({row.name, *row.needed_by}):
            raise LockError(
                f"{row.name} {row.version} has the licence {row.licence!r}, and {bad[0]!r} is not "
                "among the allowed ones. Do without the package, or add the licence to ALLOWED or "
                "the package, with a reason, to REASONS in scripts/licences.py."
            )


def report(pins: Iterable[Pin]) -> dict[str, dict[str, Any]]:
    """Return the metadata of packages by name, which pip reads without installing them.

    Raises:
        LockError: pip failed.
    """
    windows: list[Pin] = []  # some packages have files for Windows only
    others: list[Pin] = []
    for pin in pins:
        (windows if _WINDOWS.fullmatch(pin.marker) else others).append(pin)
    return _metadata(others) | _metadata(windows, "--target", "none", *_FOR_WINDOWS)


def _metadata(pins: Iterable[Pin], *options: str) -> dict[str, dict[str, Any]]:
    """Return the metadata of packages that pip finds with some options, by name."""
    if not (names := [str(pin) for pin in pins]):
        return {}
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install")
    only = ("--dry-run", "--ignore-installed", "--ignore-requires-python", "--no-deps")
    done = subprocess.run(
        [*pip, *only, *options, "--report", "-", *names],
        check=False,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    if done.returncode:
        raise LockError(f"pip cannot read the metadata of the packages:\n{done.stderr.strip()}")
    found = (item["metadata"] for item in json.loads(done.stdout)["install"])
    return {canonical(metadata["name"]): metadata for metadata in found}


def extras() -> dict[str, list[str]]:
    """Return the requirements of the core and of each extra in pyproject.toml, except `all`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = dict(project["optional-dependencies"])
    del optional["all"]
    return {"core": project["dependencies"], **optional}


def closure(start: Iterable[str], metadata: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Return the packages that requirements bring, directly or through others, on any platform."""
    seen: set[tuple[str, str]] = set()
    waiting = [Requirement(line) for line in start]
    while waiting:
        requirement = waiting.pop()
        name = canonical(requirement.name)
        for extra in ("", *requirement.extras):
            if name not in metadata or (name, extra) in seen:
                continue
            seen.add((name, extra))
            for line in metadata[name].get("requires_dist", ()):
                needed = Requirement(line)
                marker = needed.marker
                optional = marker is not None and "extra" in str(marker)
                if not optional or (extra and marker and marker.evaluate({"extra": extra})):
                    waiting.append(needed)
    return {name for name, _ in seen}


def collect(pins: Mapping[str, Pin], cuda: Mapping[str, Pin]) -> list[Row]:
    """Return the rows for packages of the runtime and for torch's CUDA libraries.

    Raises:
        LockError: No extra needs a package, or a licence is not allowed.
    """
    metadata = report([*pins.values(), *cuda.values()])
    wanted = {extra: closure(lines, metadata) for extra, lines in extras().items()}
    rows = [Row(n, pin.version, licence(metadata[n]), ("cuda",)) for n, pin in cuda.items()]
    for name, pin in pins.items():
        by = tuple(extra for extra, names in wanted.items() if name in names)
        if not by:
            raise LockError(f"{pin} is locked for the runtime, but nothing needs it.")
        rows.append(Row(name, pin.version, licence(metadata[name]), by[:1] if "core" in by else by))
    check(rows)
    return sorted(rows, key=lambda row: row.name)


def write(pins: Mapping[str, Pin], cuda: Mapping[str, Pin]) -> None:
    """Write THIRD-PARTY.md.

    Raises:
        LockError: See `collect`.
    """
    lines = "".join(str(row) for row in collect(pins, cuda))
    TARGET.write_text(HEADER + lines, encoding="utf-8")


def listed() -> dict[str, Row]:
    """Return the rows of THIRD-PARTY.md by name."""
    table = TARGET.read_text(encoding="utf-8").split("|---|---|---|---|\n")[1]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    return {name: Row(name, v, text, tuple(by.split(", "))) for name, v, text, by in cells}
