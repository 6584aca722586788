"""`python -m m3rag` is the `m3rag` command."""

from m3rag.cli import main

main()
