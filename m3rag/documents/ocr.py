"""Text of images: OCR by the system's Tesseract, which reads an image and writes text.

The program is called directly, because it is all that is needed: the packages of Python for it
call it in the same way, with files on disk. It gets one image at a time, on one thread, and
inherits the memory limit of the parser process.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache

from m3rag.errors import DocumentError, InputError
from m3rag.limits import brief, shown

_SECONDS = 60  # that an image may take
_WAIT = 3  # times as long on the clock, beside other processes
_TURNS = "osd"  # the model that tells which side of a page is up; many installations have it
_LANGUAGES = re.compile(r"\w+(?:[/+-]\w+)*", re.ASCII)
# Tesseract puts these around words of the other direction; the text itself is in logical order.
_DIRECTIONS = dict.fromkeys([0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
_GAPS = re.compile(r"[^\S\n]*\n(?:[^\S\n]*\n)+")
_BROKEN = re.compile(r"(?<=[^\W\d_])-\n\n(?=[^\W\d_])")  # a word, by a paragraph that is none
_INSTALL = (
    "Install it, for example with `apt install tesseract-ocr`, `brew install tesseract` or "
    "`winget install UB-Mannheim.TesseractOCR`, and put its folder on PATH."
)


def checked_languages(ocr: str | None) -> str | None:
    """Return the languages to read images in, after a check that Tesseract has them.

    Args:
        ocr: The codes of languages, such as "eng+ara"; None for no OCR.

    Raises:
        InputError: The value has another form, Tesseract is not installed, or has no such language.
    """
    if ocr is None:
        return None
    if not isinstance(ocr, str) or not _LANGUAGES.fullmatch(ocr):
        raise InputError(
            f'`ocr` must be the codes of languages of Tesseract, such as "eng" or "eng+ara", got '
            f"{shown(ocr)}."
        )
    if (program := shutil.which("tesseract")) is None:
        raise InputError(f"OCR needs the program Tesseract, which is not on PATH. {_INSTALL}")
    known = [language for language in _installed(program) if language != _TURNS]
    for language in ocr.split("+"):
        if language not in known:
            raise InputError(
                f"Tesseract has no language {language!r}; it has {', '.join(known) or 'none'}. "
                f"Install it, for example with `apt install tesseract-ocr-{language.lower()}`, or "
                "put its .traineddata file into the folder that `tesseract --list-langs` names."
            )
    return ocr


@cache
def _installed(program: str) -> tuple[str, ...]:
    """Return the codes of the languages and other models that Tesseract has."""
    done = _run(program, "--list-langs")
    return tuple(line for line in done.stdout.decode(errors="replace").split("\n")[1:] if line)


def recognized(image: bytes, languages: str, more_time: Callable[[float], None]) -> list[str]:
    """Return the text of an image, page by page.

    Args:
        image: A file that starts as an image does: of any other, Tesseract reads the names of more
            files. Only TIFF files have several pages.
        languages: What `checked_languages` returned.
        more_time: Called with the seconds that an image may take, and then with those that it did
            not take, as a negative number.

    Raises:
        DocumentError: Tesseract cannot read the image, or takes too long.
    """
    started = time.monotonic()
    more_time(_SECONDS)
    try:
        turned = ("--psm", "1") if _TURNS in _installed("tesseract") else ()
        done = _run("tesseract", "stdin", "stdout", "-l", languages, *turned, image=image)
    finally:
        more_time(min(time.monotonic() - started, _SECONDS) - _SECONDS)
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().split("\n")
        raise DocumentError(
            f"Tesseract cannot read it: {brief(lines[-1]).rstrip('.')}. Save it again, as PNG."
        )
    pages = done.stdout.decode(errors="replace").removesuffix("\f").split("\f")
    pages = [_GAPS.sub("\n\n", page.translate(_DIRECTIONS)).strip() for page in pages]
    return [_BROKEN.sub("-\n", page) for page in pages]


def _run(*command: str, image: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run Tesseract.

    Raises:
        DocumentError: It does not start, or does not end.
    """
    environment = {**os.environ, "OMP_THREAD_LIMIT": "1"}
    pipe = subprocess.PIPE
    try:
        child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)
    except OSError as error:
        raise DocumentError(f"Tesseract cannot be started: {error.strerror or error}.") from error
    with child:
        try:
            _limit_time(child.pid)
            output, errors = child.communicate(image, _WAIT * _SECONDS)
        except BaseException as error:
            child.kill()
            if isinstance(error, subprocess.TimeoutExpired):
                raise DocumentError(
                    f"Tesseract needs more than {_WAIT * _SECONDS} seconds."
                ) from None
            raise
    return subprocess.CompletedProcess(command, child.returncode, output, errors)


def _limit_time(process: int) -> None:
    """Limit how long Tesseract computes, even if the process that waits for it is ended."""
    if sys.platform == "linux":
        import resource

        resource.prlimit(process, resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
