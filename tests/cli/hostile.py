"""Strings that attack a terminal, and what an output may not contain."""

import re

HOSTILE = {
    "colour": "\x1b[31mred\x1b[2J",
    "title": "\x1b]0;OWNED\x07",
    "link": "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "C0": "a\x00\x01\x08\x0b\x0c\x0e\x7fb",
    "C1": "a\x9b31m\x9d0;x\x9c\x85b",
    "line": "b\nFORGED: all ok.pdf",
    "carriage return": "secret\rFORGED",
    "separators": "b\u2028FORGED\u2029FORGED",
    "markup": "[red]r[/red] [/nope] [link=http://evil.example]l[/link] [@click=app.bell]x[/]",
    "emoji code": ":smile: :warning:",
    "override": "\u202efdp.exe\u202c \u202d\u202a\u202b",
    "isolate": "\u2066\u2067\u2068x\u2069",
    "marks": "a\u200e\u200fb\u061c",
    "zero width": "pay\u200bpal\u2060\ufeff\u180e x\u200dy\u200c",
    "tags": "x\U000e0041\U000e0042\U000e007f",
    "surrogate": "\udcff\udc80 \ud800 \udfff",
    "annotation": "\ufff9a\ufffab\ufffb\ufffe",
    "format": "{task.description} {0} %s %n",
    "html": "<script>alert(1)</script><img src=x onerror=alert(2)>\" onclick='alert(3)' </mark>",
    "long": "x" * 5_000,
    "blank": " ",
}

NEVER = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]|\u061c|\u200b|\u200e|\u200f|(?<=[ -~])[\u200c\u200d]"
)
"""What no output may contain: no line of it, and no passage in it."""


def check(output, error, status, *, json=False):
    """Return what is wrong with the output of a command; "" if nothing."""
    for name, text in (("stdout", output), ("stderr", error)):
        if found := NEVER.search(text):
            return f"{name} has {found[0]!r}"
        if "Traceback" in text:
            return f"{name} has a traceback"
        if "bug in m3rag" in text:
            return f"unexpected: {text[-300:]}"
        if re.search("^FORGED", text, re.MULTILINE):
            return f"{name} has a forged line"
    errors = re.findall("^Error: .*$", error, re.MULTILINE)
    if status not in (0, 1, 2):
        return f"status {status}"
    if len(errors) != (status != 0) and not (status == 1 and json):
        return f"status {status} and {len(errors)} lines of errors: {error[-300:]}"
    if status == 1 and errors and not re.match(r"Error: [A-Z]\w+Error: \S", errors[0]):
        return f"no kind: {errors[0]}"
    return ""
