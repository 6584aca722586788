"""Write a software bill of materials of the release, as CycloneDX JSON: `make sbom`.

    python -m scripts.sbom [--to FILE]

cyclonedx-py makes it from the lock files: what m3rag and its extras need, in the locked versions,
with the hashes. Added to that: m3rag's version, what it needs directly, the licences of
THIRD-PARTY.md, and the scope, "required" for the core and "optional" for what only extras or
torch's CUDA build need. The result is checked against the schema.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

import m3rag
from scripts.audit import tools
from scripts.licences import extras, listed
from scripts.locked import LOCKS, ROOT, canonical

FILES = ("runtime", "torch", "cuda")
SPEC = "1.6"
VALIDATE = f"""
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

text = open(sys.argv[1], encoding="utf-8").read()
error = JsonStrictValidator(SchemaVersion.V{SPEC.replace(".", "_")}).validate_str(text)
sys.exit(error and f"{{sys.argv[1]}} is not valid: {{error}}")
"""


def generate(programs: Path) -> dict[str, Any]:
    """Return cyclonedx-py's bill of the lock files, without the comments in them."""
    lines = [(LOCKS / f"{which}.txt").read_text(encoding="utf-8") for which in FILES]
    command = [str(programs / "cyclonedx-py"), "requirements", "--sv", SPEC, "--mc-type", "library"]
    command += ["--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible", "-"]
    done = subprocess.run(
        command,
        input="".join(lines),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    bill: dict[str, Any] = json.loads(done.stdout)
    return bill


def complete(bill: dict[str, Any]) -> None:
    """Add to a bill what the lock files do not say."""
    rows = listed()
    refs = {}
    for component in bill["components"]:
        name = canonical(component["name"])
        refs[name] = component["bom-ref"]
        del component["description"]  # the line of the lock file, which is all in other fields
        row = rows[name]
        component["scope"] = "required" if row.needed_by == ("core",) else "optional"
        component["licenses"] = [{"license": {"name": row.licence}}]
    root = bill["metadata"]["component"]
    root["version"] = m3rag.__version__
    root["purl"] = f"pkg:pypi/m3rag@{m3rag.__version__}"
    lines = {line for lines in extras().values() for line in lines}
    direct = {canonical(Requirement(line).name) for line in lines}
    needed = sorted(refs[name] for name in direct & refs.keys())
    [graph] = [part for part in bill["dependencies"] if part["ref"] == root["bom-ref"]]
    graph["dependsOn"] = needed


def main() -> int:
    """Return 0 if the bill is written and valid."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    name = f"m3rag-{m3rag.__version__}.cdx.json"
    parser.add_argument("--to", type=Path, default=ROOT / "build" / name, help="where it goes")
    given = parser.parse_args()
    programs = tools()
    bill = generate(programs)
    complete(bill)
    given.to.parent.mkdir(parents=True, exist_ok=True)
    given.to.write_text(json.dumps(bill, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    check = [str(programs / "python"), "-c", VALIDATE, str(given.to)]
    return subprocess.run(check, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
