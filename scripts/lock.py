"""Renew the lock files in requirements/, constraints.txt and THIRD-PARTY.md: `make lock`.

    python -m scripts.lock

Reads pyproject.toml for what is needed and constraints.txt for its versions. A package without a
pin in constraints.txt gets its newest version that fits, and the pin. So: to add a dependency, add
it to pyproject.toml; to upgrade one, delete or change its pin; then run this. uv resolves for all
platforms and Pythons at once. The hashes are those of all files of a version on the index, and for
torch also those of the builds without CUDA, listed in requirements/torch-cpu.sha256.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import URLError
from urllib.parse import unquote
from urllib.request import urlopen

from scripts import licences
from scripts.locked import FILES, LOCKS, ROOT, TORCH_CPU, LockError, Pin, constraints, parse, read

PYTHON = "3.11.5"  # the lowest that the locked versions support
TORCH_INDEX = os.environ.get("TORCH_INDEX", "")  # PyTorch's CPU index, for a new version of torch
CUDA = re.compile(r"nvidia-|cuda-|triton$")  # what torch's Linux wheel on PyPI needs beside Python
RUNTIME = ("--extra", "all", "--extra", "ir-datasets", "--no-emit-package", "m3rag-small")
APART = "llama-index-milvus"  # needs another pymilvus than the extra `milvus`, so it is not locked
CLASH = "pymilvus"
HEADER = "# Made by `make lock`; do not edit.\n"
CONSTRAINTS = """\
# The locked versions. Change or delete a pin, then run `make lock`, which completes this file and
# writes the hashes to requirements/.
"""
_LINK = re.compile(r'href="[^"#]*/(?P<name>[^"/#]+\.whl)#sha256=(?P<hash>[0-9a-f]{64})"')


def compile_(*arguments: str, without: str = "") -> dict[str, Pin]:
    """Return what uv resolves pyproject.toml to, with hashes.

    Args:
        arguments: The extras and groups.
        without: A package whose pin in constraints.txt does not count.

    Raises:
        LockError: There is no solution, or one package has two versions.
    """
    uv = (sys.executable, "-m", "uv", "--quiet", "--no-config", "pip", "compile", "--universal")
    style = ("--generate-hashes", "--no-header", "--no-annotate", "--fork-strategy", "fewest")
    pins = "".join(f"{pin}\n" for name, pin in constraints().items() if name != without)
    with TemporaryDirectory() as folder:
        (held := Path(folder) / "constraints.txt").write_text(pins, encoding="utf-8")
        where = ("--python-version", PYTHON, "--constraint", str(held))
        done = subprocess.run(
            [*uv, *style, *where, *arguments],
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
    if done.returncode:
        raise LockError(f"uv found no set of versions:\n{done.stderr.strip()}")
    return parse(done.stdout)


def listed_hashes(listing: str, version: str) -> set[str]:
    """Return the hashes of a version's builds in the text of requirements/torch-cpu.sha256."""
    lines = (line.split("  ") for line in listing.splitlines())
    return {digest for digest, name in lines if name.startswith(f"torch-{version}+cpu-")}


def linked_builds(page: str, version: str) -> str:
    """Return the lines of requirements/torch-cpu.sha256 for the links of the PyTorch index."""
    found = {unquote(m["name"]): m["hash"] for m in _LINK.finditer(page)}
    wanted = re.compile(rf"torch-{re.escape(version)}\+cpu-.*manylinux")
    return "".join(f"{found[name]}  {name}\n" for name in sorted(found) if wanted.match(name))


def torch_builds(version: str) -> set[str]:
    """Return the hashes of torch's builds without CUDA; renew the list for a new version.

    Raises:
        LockError: The list has another version, and the PyTorch index is out of reach.
    """
    if hashes := listed_hashes(TORCH_CPU.read_text(encoding="utf-8"), version):
        return hashes
    if not TORCH_INDEX:
        raise LockError(
            f"requirements/torch-cpu.sha256 has no build of torch {version}. Set TORCH_INDEX to "
            "the page of torch in PyTorch's CPU index, or write the lines by hand."
        )
    try:
        with urlopen(TORCH_INDEX, timeout=60) as answer:
            listing = linked_builds(answer.read().decode(), version)
    except (URLError, TimeoutError) as error:
        raise LockError(
            f"requirements/torch-cpu.sha256 has no build of torch {version}, and {TORCH_INDEX} did "
            f"not answer: {error}. Run this where it does, or write the lines by hand."
        ) from error
    if not listing:
        raise LockError(f"{TORCH_INDEX} has no build of torch {version} without CUDA.")
    TORCH_CPU.write_text(listing, encoding="utf-8")
    return listed_hashes(listing, version)


def compare(old: Pin, new: Pin) -> None:
    """Check that the files of an unchanged version are still those that were locked.

    Raises:
        LockError: A file has vanished from the index or has another content.
    """
    if old.version == new.version and (gone := old.hashes - new.hashes):
        raise LockError(
            f"The index no longer has {len(gone)} of the {len(old.hashes)} files of {new}, such as "
            f"sha256:{min(gone)}. Find out why; then delete the package's lines in requirements/."
        )


def write(which: str, pins: dict[str, Pin]) -> None:
    """Write requirements/WHICH.txt.

    Raises:
        LockError: A pin has no hash, or its files are not those that were locked before.
    """
    path = LOCKS / f"{which}.txt"
    before = read(which) if path.exists() else {}
    lines = [HEADER]
    for name in sorted(pins):
        pin = pins[name]
        if not pin.hashes:
            raise LockError(f"{pin} has no hashes on the index.")
        if name in before:
            compare(before[name], pin)
        head = f"{pin} ; {pin.marker}" if pin.marker else str(pin)
        lines.append(" \\\n    ".join([head, *(f"--hash=sha256:{h}" for h in sorted(pin.hashes))]))
        lines.append("\n")
    path.write_text("".join(lines), encoding="utf-8")


def resolve() -> dict[str, dict[str, Pin]]:
    """Return the pins of each lock file.

    Raises:
        LockError: See `compile_` and `torch_builds`.
    """
    everything = compile_(*RUNTIME, "--group", "dev", "pyproject.toml")
    needed = compile_(*RUNTIME, "pyproject.toml").keys()
    audit = compile_("--group", "audit")
    torch = everything.pop("torch")
    hashes = torch.hashes | torch_builds(torch.version)
    cuda = {name for name in everything if CUDA.match(name)}
    return {
        "pip": {"pip": everything.pop("pip")},
        "torch": {"torch": Pin(torch.name, torch.version, torch.marker, frozenset(hashes))},
        "cuda": {name: everything.pop(name) for name in cuda},
        "runtime": {name: everything.pop(name) for name in needed & everything.keys()},
        "dev": everything,
        "audit": audit,
    }


def main() -> int:
    """Return 0, or 1 with the reason."""
    try:
        before = constraints()
        locks = resolve()
        for which in FILES:
            write(which, locks[which])
        pins = {name: pin for lock in locks.values() for name, pin in lock.items()}
        lines = "".join(f"{pins[name]}\n" for name in sorted(pins))
        (ROOT / "constraints.txt").write_text(CONSTRAINTS + lines, encoding="utf-8")
        apart = compile_("--extra", APART, "pyproject.toml", without=CLASH)
        apart = {name: pin for name, pin in apart.items() if not CUDA.match(name)}
        licences.write({**apart, **locks["runtime"], **locks["torch"]}, locks["cuda"])
    except LockError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    for name in sorted(before.keys() | pins.keys()):
        old, new = before.get(name), pins.get(name)
        if str(old) != str(new):
            sys.stdout.write(f"{old or 'new'} -> {new or 'no longer needed'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
