"""Read the lock files in requirements/: one pinned version with its SHA-256 hashes per package."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ROOT / "requirements"
FILES = ("pip", "torch", "cuda", "runtime", "dev", "audit")
OWN = {"m3rag": ROOT, "m3rag-small": ROOT / "models" / "small"}
"""The folders of the distributions that this repository builds; they are in no lock file."""

TORCH_CPU = LOCKS / "torch-cpu.sha256"  # of the PyTorch index's builds, which PyPI does not have

_PIN = re.compile(r"(?P<name>[\w.-]+)==(?P<version>[^\s;\\]+)\s*(?:;\s*(?P<marker>[^\\]*\S))?")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})\b")


class LockError(Exception):
    """A lock file is damaged, or it disagrees with what it was made from."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A locked package.

    Attributes:
        name: The package's name in its canonical form.
        version: The one version.
        marker: The environments that need the package; "" for all.
        hashes: The SHA-256 hashes of the version's files.
    """

    name: str
    version: str
    marker: str = ""
    hashes: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


def canonical(name: str) -> str:
    """Return a package's name in its canonical form."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parse(text: str) -> dict[str, Pin]:
    r"""Return the pins of a requirements file by name.

    Raises:
        LockError: A line is not a pin, or a package is pinned twice.
    """
    found: dict[str, Pin] = {}
    for line in re.sub(r"\\\n", " ", text).splitlines():
        line = line.split(" #")[0].strip()
        if not line or line.startswith("#"):
            continue
        match = _PIN.match(line)
        if match is None:
            raise LockError(f"This line does not pin a version: {line[:80]!r}.")
        name = canonical(match["name"])
        if name in found:
            raise LockError(f"{name} is pinned twice.")
        marker = (match["marker"] or "").split("--hash")[0].strip()
        found[name] = Pin(name, match["version"], marker, frozenset(_HASH.findall(line)))
    return found


def read(which: str) -> dict[str, Pin]:
    """Return the pins of requirements/WHICH.txt by name."""
    return parse((LOCKS / f"{which}.txt").read_text(encoding="utf-8"))


def constraints() -> dict[str, Pin]:
    """Return the pins of constraints.txt by name."""
    return parse((ROOT / "constraints.txt").read_text(encoding="utf-8"))
