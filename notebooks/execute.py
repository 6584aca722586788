"""Execute every notebook of this folder and write its outputs back: `make notebooks`.

If a cell fails or writes to standard error, its notebook is left unchanged and the exit status is
1. Outputs contain no times, paths or versions, so a second run changes nothing.
"""

# nbformat's functions have no annotations.
# mypy: allow-untyped-calls

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

HERE = Path(__file__).resolve().parent
TIMEOUT_S = 600  # seconds for one cell


class OutputError(Exception):
    """A cell ran, but its output contains something that does not belong there."""


def execute(path: Path) -> None:
    """Run one notebook in this folder and write it back with its outputs.

    Raises:
        CellExecutionError: A cell raised an exception.
        OutputError: A cell wrote to standard error, or an output names a path of this machine.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT_S,
        startup_timeout=TIMEOUT_S,
        extra_arguments=["--log-level=ERROR"],  # of the kernel, not of the cells
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
        raise OutputError(f"A cell wrote to standard error:\n{output.text}")
    for private in (str(HERE.parent), tempfile.gettempdir()):
        if private in str(output):
            raise OutputError(f"An output names a path of this machine, {private}:\n{output}")


def main() -> int:
    """Execute all notebooks and return how many failed."""
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["TMPDIR"] = tempfile.tempdir = scratch  # removed with what notebooks put there
        os.environ["IPYTHONDIR"] = os.environ["JUPYTER_RUNTIME_DIR"] = scratch
        # tqdm warns that it cannot draw its progress bars in Jupyter; no bar is drawn here.
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
