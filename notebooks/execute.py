"""Execute every notebook of this folder and write its outputs back: `make notebooks`.

A cell that fails, or that writes to standard error, ends the run with status 1 and leaves its
notebook as it was. Outputs hold no times, paths or versions, so that a second run changes nothing.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

HERE = Path(__file__).resolve().parent
TIMEOUT_S = 600  # of one cell


class OutputError(Exception):
    """A cell ran, but left something in its output that does not belong there."""


def execute(path: Path) -> None:
    """Run one notebook in this folder, and write it back with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT_S,
        startup_timeout=TIMEOUT_S,
        extra_arguments=["--log-level=ERROR"],  # the kernel's own, not the cells'
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(HERE)}},
    )
    client.execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            _check(output)
        cell.metadata = {}
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    nbformat.validate(notebook)
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


def _check(output: nbformat.NotebookNode) -> None:
    if output.get("name") == "stderr":
        raise OutputError(f"a cell wrote to standard error:\n{output.text}")
    for private in (str(HERE.parent), tempfile.gettempdir()):
        if private in str(output):
            raise OutputError(f"an output names a path of this machine, {private}:\n{output}")


def main() -> int:
    """Execute all; the number of notebooks that failed."""
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["TMPDIR"] = tempfile.tempdir = scratch  # what notebooks put there goes with it
        os.environ["IPYTHONDIR"] = os.environ["JUPYTER_RUNTIME_DIR"] = scratch
        # tqdm's, about a widget that draws its bars in Jupyter: none is drawn here.
        os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"
        for path in sorted(HERE.glob("*.ipynb")):
            try:
                execute(path)
            except (CellExecutionError, DeadKernelError, TimeoutError, OutputError) as error:
                sys.stderr.write(f"{path.name}: {error}\n")
                failed += 1
            else:
                sys.stdout.write(f"{path.name}: executed\n")
    return failed


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
