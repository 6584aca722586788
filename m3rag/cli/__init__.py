"""The command line: `m3rag index`, `ask`, `info`, `delete`, `encode`."""

from m3rag.cli.app import main

__all__ = ["main"]
