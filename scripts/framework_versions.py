"""Run the framework tests with the lowest and the newest versions that pyproject.toml allows.

    python scripts/framework_versions.py [lowest] [newest]

Makes a virtual environment for each under build/frameworks. "lowest" pins langchain-core and
llama-index-core to their lower bounds; partner packages and test suites are the newest that fit.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
import venv
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FRAMEWORKS = ("langchain-core", "llama-index-core")
TESTS = ("tests/langchain", "tests/llama_index", "tests/test_framework_parity.py")
HEAVY = ("FlagEmbedding", "sentence-transformers")  # no framework test needs them
IGNORED = (  # warnings of llama-index-core 0.14.0, some of them only with newer packages
    "ignore::pydantic.warnings.UnsupportedFieldAttributeWarning",
    "ignore:Call to deprecated method get_doc_id:DeprecationWarning",
)
SHOWN = "langchain|langgraph|llama|qdrant|milvus|pydantic|torch|transformers"

_RANGE = re.compile(r"(?P<name>[\w.-]+)>=(?P<low>[\d.]+),<(?P<high>[\d.]+)")


def pins(which: str, project: dict[str, list[str]]) -> list[str]:
    """Return the requirement of each framework: its lower bound, or its whole range.

    Args:
        which: "lowest" or "newest".
        project: The optional dependencies of pyproject.toml.
    """
    lines = chain.from_iterable(project.values())
    matches = {m["name"]: m for line in lines if (m := _RANGE.fullmatch(line))}
    ranges = [matches[name] for name in FRAMEWORKS]
    return [f"{m['name']}=={m['low']}" if which == "lowest" else m[0] for m in ranges]


def tools(which: str, group: list[str]) -> list[str]:
    """Return the packages of the test group; for "lowest" without their versions."""
    needed = [line for line in group if not line.startswith(HEAVY)]
    return [re.split(r"[=<>]", line)[0] for line in needed] if which == "lowest" else needed


def check(which: str) -> bool:
    """Make the environment, install and run the tests; return whether they passed."""
    toml = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    home = ROOT / "build" / "frameworks" / which
    venv.create(home, with_pip=True, clear=True)
    python = str(home / ("Scripts" if sys.platform == "win32" else "bin") / "python")
    torch = re.search(r"^torch==\S+", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)
    # torch first and alone, as in the Makefile, so that nothing else pulls another build.
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, torch[0] if torch else "torch"], check=True)
    # uv for the rest: pip looks for versions that fit the lowest for a quarter of an hour.
    # It copies files, because NLTK refuses hard links.
    uv = [sys.executable, "-m", "uv", "--quiet", "pip", "install", "--link-mode", "copy"]
    install = [*uv, "--python", python]
    wanted = pins(which, toml["project"]["optional-dependencies"])
    suites = tools(which, toml["dependency-groups"]["test"])
    own = ("--editable", f"{ROOT}[all]")  # with "small", by tool.uv.sources
    subprocess.run([*install, *wanted, *suites, *own], check=True)
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze"], check=True, capture_output=True, text=True
    )
    shown = [line for line in listed.stdout.split() if re.match(SHOWN, line)]
    sys.stdout.write(f"{which}: {' '.join(shown)}\n")
    sys.stdout.flush()
    filters = [f"-W{warning}" for warning in IGNORED] if which == "lowest" else []
    tests = subprocess.run([python, "-m", "pytest", *filters, *TESTS], cwd=ROOT, check=False)
    return tests.returncode == 0


def main() -> int:
    """Check the environments and return how many failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("which", nargs="*", default=["lowest", "newest"], metavar="lowest|newest")
    return sum(not check(which) for which in parser.parse_args().which)


if __name__ == "__main__":
    sys.exit(main())
