"""Run the tests with the lowest versions of the dependencies that pyproject.toml allows.

    python scripts/lowest.py [--keep-torch] [PYTEST ARGUMENTS]

Makes a virtual environment under build/lowest with uv. The dependencies of the package and its
extra `all` are the lowest; theirs, and the tests' tools, are what fits them. On Linux set
UV_TORCH_BACKEND=cpu, or torch brings several GB of CUDA libraries; --keep-torch takes the torch of
constraints.txt.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / "build" / "lowest"
PARITY = "tests/model/test_parity.py"  # the references tokenize differently with transformers 5.0
PYARROW = "pyarrow<22"  # FlagEmbedding brings it; newer ones need NumPy 2
NAME = re.compile(r"[\w.-]+")


def key(requirement: str) -> str:
    """Return a requirement's package name in its canonical form."""
    found = NAME.match(requirement)
    assert found is not None, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def main() -> int:
    """Return the exit status of pytest."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep-torch", action="store_true", help="take the locked torch")
    given, pytest_arguments = parser.parse_known_args()

    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    constraints = HOME / "constraints.txt"
    locked = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    kept = [line for line in locked if line.startswith("torch==") and given.keep_torch]
    constraints.write_text("\n".join(kept), encoding="utf-8")

    uv = [sys.executable, "-m", "uv", "--quiet"]
    resolved = subprocess.run(
        [
            *(*uv, "pip", "compile", "--resolution", "lowest-direct", "--python", sys.executable),
            *("--extra", "all", "--constraint", str(constraints), "--no-annotate", "--no-header"),
            str(ROOT / "pyproject.toml"),
        ],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.split("\n")
    extras = project["project"]["optional-dependencies"].values()
    direct = {key(line) for part in (project["project"]["dependencies"], *extras) for line in part}
    lowest = [line for line in resolved if line and key(line) in direct]
    constraints.write_text("\n".join(lowest), encoding="utf-8")
    sys.stdout.write(f"lowest: {' '.join(lowest)}\n")
    sys.stdout.flush()

    tools = [*(key(line) for line in project["dependency-groups"]["test"]), PYARROW]
    home = HOME / "venv"
    python = home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    subprocess.run([*uv, "venv", "--python", sys.executable, str(home)], check=True)
    subprocess.run(
        [
            *(*uv, "pip", "install", "--python", str(python), "--constraint", str(constraints)),
            *("--link-mode", "copy"),  # NLTK refuses hard links
            *("--editable", f"{ROOT}[all]", *tools),
        ],
        check=True,
    )
    command = [str(python), "-m", "pytest", "--numprocesses", "2", "--dist", "loadfile"]
    command += ["-Wdefault", f"--ignore={PARITY}"]  # what is old may warn
    return subprocess.run([*command, *pytest_arguments], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
