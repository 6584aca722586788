"""Hostile names, texts, arguments and files against the terminal: every command shows data as data.

The quick trial runs the real command. The long one runs every command in this process with hostile
strings in all of its arguments.
"""

import json
import os
import random
import subprocess
import sys

import pytest

from tests.cli.hostile import HOSTILE, check
from tests.conftest import m3rag as run_here
from tests.trials.record import SEED, record

pytestmark = pytest.mark.filterwarnings("ignore::m3rag.errors.TruncationWarning")
m3rag = run_here
TEXT = (
    "# {0}\n\nFerns like shade: {0} and {1}.\n\n## <script>alert(1)</script> {1}\n\n"
    "می‌خواهم ferns \x1b[31mred\x1b]0;T\x07 [bold]x[/bold] [/nope] :smile: \u202e.\n"
)


def names():
    """Return the hostile strings that can be the name of a file, as bytes."""
    found = [text.replace("/", "∕").replace("\0", "") for text in HOSTILE.values()]
    return [name.encode(errors="replace")[:200] for name in found] + [b"bad\xff\xfe"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with documents and data whose names and contents are hostile, and their index."""
    home = tmp_path_factory.mktemp("hostile")
    docs = home / "do[red]cs\x1b[2J\nFORGED"
    docs.mkdir()
    one, two = HOSTILE["markup"], HOSTILE["emoji code"]
    for number, name in enumerate(names()):
        with open(os.path.join(os.fsencode(docs), name + b".md"), "wb") as file:
            text = f"{TEXT.format(one, two)}\nNumber {number}.\n"  # equal files are stored once
            file.write(text.encode() if number % 3 else b"# Ferns\0\n")
    (docs / "good.md").write_text("# Ferns\n\nFerns like shade.\n")
    ended = real("index", docs, "--to", home / "k[/b]\n\x1b[2J", "--model", "tiny", timeout=100)
    assert ended[2] == 1  # some are no text
    assert check(ended[0], "", 0) == check("", ended[1], 0) == ""
    assert " added" in ended[0]
    return home


@pytest.fixture
def kb(home):
    return home / "k[/b]\n\x1b[2J"


def real(*arguments, environment=None, timeout=60, **options):
    """Run the real command; returns its output, its errors and its status."""
    command = [sys.executable, "-m", "m3rag", *arguments]
    ended = subprocess.run(
        command,
        env=os.environ | {"COLUMNS": "80", "NO_COLOR": "1"} | (environment or {}),
        capture_output=True,
        timeout=timeout,
        check=False,
        **options,
    )
    return ended.stdout.decode(), ended.stderr.decode(), ended.returncode


def test_the_real_commands_show_data(home, kb, tmp_path):
    plain = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    out, err, status = real("ask", HOSTILE["markup"], "--in", kb, environment=plain)
    assert (status, err) == (0, "")
    assert check(out, err, status) == ""
    assert "[/nope] :smile: \\u202e" in out
    out, err, status = real("explain", "ferns red", "--in", kb, "--json", "--html", tmp_path / "x")
    assert check(out, err, status) == ""
    assert len(json.loads(out)["explanations"]) == 3
    assert b"\x1b" not in (tmp_path / "x").read_bytes()
    out, err, status = real("ask", b"fern \xff", "--in", kb)
    assert (out, status) == ("", 1)
    assert err.startswith("Error: InputError: The question is not valid Unicode: \\xff")
    out, err, status = real("info", "--in", kb)
    assert check(out, err, status) == ""
    assert "FORGED" in out  # a name, within its line


def data_files(home, text):
    """Write files of questions, examples and a retrieval set with a hostile string in each."""
    valid = text.encode(errors="replace").decode()
    rows = {
        "questions.jsonl": [{"question": f"fern {valid}", "document_id": valid, "id": text}],
        "examples.jsonl": [{"query": f"a {valid}", "pos": [f"b {valid}"], "source": valid}] * 2,
        "broken.jsonl": [text],
    }
    for name, lines in rows.items():
        (home / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    (home / "binary.jsonl").write_bytes(text.encode("utf-8", "surrogatepass"))
    folder = home / "set"
    folder.mkdir(exist_ok=True)
    corpus = [{"_id": "d", "text": f"fern {valid}", "lang": valid, "title": valid}]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in corpus))
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "fern", "lang": valid}))
    (folder / "qrels.tsv").write_text("q\td\t1\n")


def commands(home, kb, text):
    """Return the command lines that have a hostile string in one of their arguments."""
    ask = ["ask", "ferns", "--in", kb, "-k", "2"]
    deep, digits = '{"$not":' * 5_000 + "{}" + "}" * 5_000, "9" * 5_000
    document = json.dumps({"document_id": text})
    return [
        ["ask", text, "--in", kb], ["explain", text, "--in", kb, "-k", "1", "--json"],
        *([*ask, option, text] for option in (
            "-k", "--weights", "--fusion", "--channels", "--filter", "--candidates", "--balance",
            "--min-score", "--neighbours", "--llm")),
        [*ask, "--filter", document, "--json"], [*ask, "--filter", f"{text}=1"],
        [*ask, "--filter", f"title={text}", "--json"], [*ask, f"--{text}"],
        [*ask, "--filter", deep], [*ask, "--filter", f'{{"a":{digits}}}'],
        [*ask, "--filter", f"a={digits[:4000]}"], [*ask, "-k", "9" * 21],
        [*ask, "--neighbours", "9" * 21], [*ask, "--min-score", "nan"],
        ["explain", "f", "--in", kb, "--passage", text], ["info", "--in", text],
        ["explain", "f", "--in", kb, "--html", home / text.replace("\0", "") / "page.html"],
        ["delete", "--in", kb, "--document", text, "--json"], ["delete", "--in", text],
        ["delete", "--in", kb, "--filter", json.dumps({"id": text, "document_id": "none"})],
        ["encode", text, "--model", "tiny"], ["encode", text, "--model", "tiny", "--json"],
        ["encode", "x", "--model", text], ["index", text, "--to", home / "new"],
        ["tune", home / "questions.jsonl", "--in", kb, "--name", text or "x", "--dry-run"],
        ["tune", home / "broken.jsonl", "--in", kb], ["tune", text, "--in", kb],
        ["tune", home / "binary.jsonl", "--in", kb], ["tune", "--pseudo", text, "--in", kb],
        ["evaluate", home / "set", "--model", "tiny", "--weights", "rrf", "--channels", "bm25"],
        ["evaluate", home / "set", "--model", "tiny", "--channels", "bm25", "--json"],
        ["evaluate", home / "set", "--model", "tiny", "--against", text, "--channels", "bm25"],
        ["evaluate", text], ["evaluate", home / "set", "--metrics", text],
        ["evaluate", home / "set", "--run", home / "broken.jsonl"],
        ["train", "mine", "--data", home / "broken.jsonl", "--to", home / "m", "--model", "tiny"],
        ["train", "mine", "--data", home / "examples.jsonl", "--to", home / "m", "--range", text],
        ["train", "--data", home / "binary.jsonl", "--to", home / "out", "--model", "tiny"],
        ["train", "--data", home / "none.jsonl", "--to", home / "out", "--device", text],
        [text, "--in", kb], ["train", text],
    ]  # fmt: skip


@pytest.mark.trial
@pytest.mark.timeout(600)
def test_every_command_with_hostile_strings(home, kb, m3rag, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    chance = random.Random(SEED)
    kinds = sorted(HOSTILE)
    runs = []
    count = len(commands(home, kb, ""))
    for kind in kinds:
        one, other = HOSTILE[kind], HOSTILE[chance.choice(kinds)]
        runs += [(kind, one, i) for i in chance.sample(range(count), 5)]
        runs += [(f"{kind} and more", other[: len(other) // 2] + one, chance.randrange(count))]
    tried, bad = 0, []
    for kind, text, number in runs:
        data_files(tmp_path, text)
        line = commands(tmp_path, kb, text)[number]
        status, out, err = m3rag(*line)
        wrong = check(out, err, status)
        if not wrong and "--json" in line and status == 0:
            [json.loads(row) for row in out.splitlines()]
        tried += 1
        if wrong:
            bad.append(f"{kind}: {[str(part)[:60] for part in line]}: {wrong}")
    record("hostile terminal", tried=tried, raw=len(bad), note="; ".join(bad)[:2_000])
