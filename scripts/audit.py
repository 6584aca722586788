"""Look up known vulnerabilities of the locked versions with pip-audit: `make audit`.

    python -m scripts.audit

pip-audit runs in an environment of its own, build/audit, from the hash-checked requirements/
audit.txt, and resolves nothing: it reads the lock files. requirements/audit-ignore.txt names the
vulnerabilities that do not concern m3rag, each with the reason and the date on which to look again.
"""

from __future__ import annotations

import datetime
import re
import subprocess
import sys
import venv
from pathlib import Path

from scripts.locked import FILES, LOCKS, ROOT, LockError

HOME = ROOT / "build" / "audit"
IGNORED = LOCKS / "audit-ignore.txt"
_ENTRY = re.compile(r"(?P<id>[A-Z]+-[\w-]+) until (?P<date>\d{4}-\d\d-\d\d): (?P<reason>\S.*)")


def tools() -> Path:
    """Return the folder with the programs of requirements/audit.txt, installed if necessary."""
    lock = LOCKS / "audit.txt"
    programs = HOME / ("Scripts" if sys.platform == "win32" else "bin")
    ready = HOME / "installed.txt"
    if not ready.exists() or ready.read_bytes() != lock.read_bytes():
        venv.create(HOME, with_pip=True, clear=True)
        pip = (str(programs / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check")
        how = ("--no-deps", "--require-hashes", "--only-binary", ":all:")
        subprocess.run([*pip, "install", *how, "-r", str(lock)], check=True)
        ready.write_bytes(lock.read_bytes())
    return programs


def ignored(text: str, today: datetime.date) -> list[str]:
    """Return the ids of the vulnerabilities to ignore.

    Raises:
        LockError: A line has another form, or its date has passed.
    """
    found = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        match = _ENTRY.fullmatch(line.strip())
        if match is None:
            raise LockError(f"Write `ID until YYYY-MM-DD: reason.` instead of {line[:80]!r}.")
        if datetime.date.fromisoformat(match["date"]) < today:
            raise LockError(f"{match['id']} was to be looked at again by {match['date']}.")
        found.append(match["id"])
    return found


def main() -> int:
    """Return pip-audit's exit status: 0 if it found nothing."""
    try:
        today = datetime.datetime.now(tz=datetime.UTC).date()
        ids = ignored(IGNORED.read_text(encoding="utf-8"), today)
    except LockError as error:
        sys.stderr.write(f"error: requirements/audit-ignore.txt: {error}\n")
        return 1
    locks = [part for which in FILES for part in ("-r", str(LOCKS / f"{which}.txt"))]
    how = ["--disable-pip", "--require-hashes", "--strict", "--progress-spinner", "off"]
    skip = [part for name in ids for part in ("--ignore-vuln", name)]
    command = [str(tools() / "pip-audit"), *how, *skip, *locks]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
