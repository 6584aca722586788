"""Reads documents for a trial: paths on standard input, results on standard output, as JSON."""

from __future__ import annotations

import json
import sys

from m3rag.documents import read
from m3rag.errors import DocumentError


def main() -> None:
    """Answer until standard input ends."""
    for line in sys.stdin:
        try:
            document = read(json.loads(line))
            document.text.encode()
            ordered = all(0 <= at <= len(document.text) for at in document.pages)
            starts = [heading.start for heading in document.headings]
            ordered = ordered and all(0 <= start < len(document.text) for start in starts)
            answer = ["document" if ordered else "wrong", f"{len(document.text)} characters"]
        except DocumentError as error:
            message = str(error)
            answer = ["error" if len(message) < 2_000 else "raw", message[:2_000]]
        except BaseException as error:  # that is what the trial looks for
            answer = ["raw", f"{type(error).__name__}: {str(error)[:500]}"]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
