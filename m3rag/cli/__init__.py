"""The command line: `m3rag index`, `ask`, `explain`, `evaluate`, `train` and others."""

from __future__ import annotations

import sys

from m3rag.errors import MissingExtraError
from m3rag.extras import require

__all__ = ["main"]


def main() -> None:
    """Run the `m3rag` command; without the extra `cli`, say how to install it."""
    try:
        for module in ("typer", "rich"):
            require(module, "cli")
        from m3rag.cli.app import main as run
    except MissingExtraError as error:
        sys.stderr.write(f"Error: {error}\n")
        raise SystemExit(1) from None
    except KeyboardInterrupt:  # while the modules are imported
        sys.stderr.write("Stopped.\n")
        raise SystemExit(130) from None
    run()
