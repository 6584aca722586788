"""Install the locked development versions into the environment of the Python that runs this.

    python -m scripts.install [--torch-index URL]

Every file is checked against its SHA-256 in requirements/ before anything of it runs, and nothing
is built from source except the packages of `BUILT`. torch comes first: from a wheel that pip's
find-links offer, if there is one, otherwise from the index, on Linux with the CUDA libraries. The
project itself and the models in models/ follow, built by the locked build tools, without an index.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from scripts.locked import LOCKS, OWN, read

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
CHECKED = ("install", "--quiet", "--no-deps", "--require-hashes")
# No wheel for Linux on ARM: there pip builds the source distribution, whose hash is locked.
BUILT = frozenset({"pytrec-eval-terrier"})


def wheels(*which: str) -> tuple[str, ...]:
    """Return the options that install lock files, from wheels only unless in `BUILT`."""
    names = sorted({name for lock in which for name in read(lock)} - BUILT)
    files = [part for lock in which for part in ("-r", str(LOCKS / f"{lock}.txt"))]
    return ("--only-binary", ",".join(names), *files)


def pip(*arguments: str) -> None:
    """Run pip."""
    subprocess.run([*PIP, *arguments], check=True)


def install_torch(index: str | None) -> None:
    """Install torch from an index, from pip's find-links, or with CUDA from pip's own index.

    `--no-index` makes pip take the find-links: otherwise it prefers the index's wheel, because its
    hash is known before the download. On Linux that wheel needs gigabytes of CUDA libraries.
    """
    if index is not None:
        pip(*CHECKED, *wheels("torch"), "--index-url", index)
        return
    local = subprocess.run(
        [*PIP, *CHECKED, "--no-index", *wheels("torch")],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    if local.returncode == 0:
        return
    if "DO NOT MATCH THE HASHES" in local.stdout:
        sys.stderr.write(
            "warning: the torch in pip's find-links is none of the builds in "
            "requirements/torch.txt. It is not installed; torch comes from the index.\n"
        )
    pip(*CHECKED, *wheels("torch", "cuda"))


def main() -> int:
    """Return 0, pip's exit status if it failed, or 1 if what is installed does not fit together."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch-index", metavar="URL", help="the index to take torch from")
    given = parser.parse_args()
    try:
        pip(*CHECKED, *wheels("pip"))
        install_torch(given.torch_index or None)
        pip(*CHECKED, *wheels("runtime", "dev"))
        how = ("--no-deps", "--no-build-isolation", "--no-index")
        for folder in OWN.values():
            pip("install", "--quiet", *how, "--editable", str(folder))
        if subprocess.run([*PIP, "check"], check=False).returncode:
            sys.stderr.write(
                "error: the environment does not fit together. If pyproject.toml has changed, run "
                "`make lock`; otherwise delete .venv and run `make setup` again.\n"
            )
            return 1
    except subprocess.CalledProcessError as error:
        return int(error.returncode)
    return 0


if __name__ == "__main__":
    sys.exit(main())
