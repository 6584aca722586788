"""Whether a text, an answer or an error with all that it came from shows a key."""

import base64
import html
import re
import sys
import traceback
from urllib.parse import unquote

PART = 8


def leaks(found, key):
    """Return whether anything that can be printed of a value shows 8 characters of a key."""
    if isinstance(found, BaseException):
        return any(_shows(text, key) for text in _texts(found))
    return any(_shows(text, key) for text in (str(found), repr(found)))


def _texts(error):
    waiting, seen = [error], set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield from (str(one), repr(one), repr(one.args))
        waiting += [one.__cause__, one.__context__]
    yield "".join(traceback.format_exception(error))


def _shows(text, key):
    key = key.strip()
    data = key.encode()
    forms = [key, data.hex()]
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + data).decode()
        forms += [encoded[before + 1 : -4], encoded[before + 1 : -4].replace("+", "-")]
    parts = {form[at : at + PART].lower() for form in forms for at in range(len(form) - PART + 1)}
    plain = re.sub(r"\\u00(..)", lambda escape: chr(int(escape[1], 16)), text)
    for shown in (text, plain, unquote(plain), html.unescape(text), "".join(text.split())):
        lower = shown.lower()
        if any(part in lower for part in parts):
            return True
    return False


def peak_memory():
    """Return the most memory that this process has had, in bytes; 0 where nothing tells it."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10
