"""The commands, run from their command lines."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from m3rag import __version__
from tests.conftest import hear_ctrl_c

pytestmark = pytest.mark.filterwarnings("ignore::m3rag.errors.TruncationWarning")


@pytest.fixture(scope="module")
def handbook(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs") / "handbook"
    folder.mkdir()
    (folder / "soil.md").write_text(
        "# Soil\n\n## Moisture\n\nA soil moisture sensor measures the water in the soil. "
        "Capacitive sensors do not corrode.\n\n## Price\n\nThey cost ten euros.\n"
    )
    (folder / "pumps.md").write_text("# Pumps\n\nEine Pumpe wird von einem Relais geschaltet.\n")
    (folder / "weather.txt").write_text("天气预报说明天会下雨。")
    return folder


@pytest.fixture(scope="module")
def kb(handbook, tmp_path_factory):
    kb = tmp_path_factory.mktemp("kbs") / "kb"
    command = [sys.executable, "-m", "m3rag", "index", handbook, "--to", kb, "--model", "tiny"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "3 added" in done.stdout
    return kb


def test_version(m3rag):
    assert m3rag("--version")[1].strip() == f"m3rag {__version__}"


def test_help(m3rag):
    _, out, _ = m3rag("index", "--help")
    assert "Run it again at any time" in out
    assert "--max-tokens" in out


def test_ask_prints_the_answer_its_location_and_the_scores(m3rag, kb):
    code, out, _ = m3rag("ask", "How is soil moisture measured?", "--in", kb, "-k", 2)
    assert code == 0
    text = " ".join(out.split())
    assert "Best sentence: A soil moisture sensor measures the water in the soil." in text
    assert "handbook/soil.md › Soil" in text
    for channel in ("dense", "sparse", "colbert"):
        assert channel in text


def test_ask_as_json_points_into_the_document(m3rag, kb, handbook):
    _, out, _ = m3rag("ask", "How is soil moisture measured?", "--in", kb, "-k", 3, "--json")
    result = json.loads(out)
    document = (handbook / "soil.md").read_text()
    answer = result["answer"]
    assert document[answer["start"] : answer["end"]] == answer["text"]
    assert len(result["hits"]) == 3
    first = result["hits"][0]
    passage = first["passage"]
    assert document[passage["start"] : passage["end"]] == passage["text"]
    assert first["score"] >= result["hits"][1]["score"]
    words = [passage["text"][start:end] for start, end in first["highlights"]]
    assert any("moisture" in word for word in words)


def test_explain_prints_shares_matches_and_alignment(m3rag, kb):
    code, out, _ = m3rag("explain", "How is soil moisture measured?", "--in", kb, "-k", 1)
    assert code == 0
    text = " ".join(out.split())
    assert "handbook/soil.md › Soil" in text
    assert "Best sentence: A soil moisture sensor measures the water in the soil." in text
    for word in ("share", "colbert", "▁mo", "similarity", "</s>"):
        assert word in text
    assert "2. " not in text


def test_explain_as_json_points_into_the_document(m3rag, kb, handbook):
    code, out, _ = m3rag("explain", "How is soil moisture measured?", "--in", kb, "--json")
    result = json.loads(out)
    assert code == 0
    assert [result["question"], result["kb"]] == ["How is soil moisture measured?", str(kb)]
    assert len(result["explanations"]) == 3
    first = result["explanations"][0]
    assert sum(c["share"] for c in first["channels"]) == pytest.approx(first["score"], abs=1e-5)
    best = first["sentence"]
    document = (handbook / "soil.md").read_text()
    assert document[best["document_start"] : best["document_end"]] == best["text"]
    _, out, _ = m3rag("ask", "How is soil moisture measured?", "--in", kb, "--json")
    answer = json.loads(out)["answer"]
    assert (answer["text"], answer["start"]) == (best["text"], best["document_start"])


def test_explain_one_passage_and_write_html(m3rag, kb, tmp_path):
    html = tmp_path / "why.html"
    command = ("explain", "soil moisture", "--in", kb, "--passage", "handbook/weather.txt#0")
    code, out, _ = m3rag(*command, "--json", "--html", html)
    assert code == 0
    [why] = json.loads(out)["explanations"]
    assert why["passage"]["id"] == "handbook/weather.txt#0"
    page = html.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert why["passage"]["text"] in page
    _, out, _ = m3rag(*command, "--html", html)
    assert " ".join(out.split()).startswith("1 passage explained in")
    _, out, _ = m3rag(*command)
    assert "No token in common." in out


def test_ask_with_neighbours(m3rag, tmp_path):
    (tmp_path / "docs").mkdir()
    text = "# Ferns\n\n" + "\n\n".join(f"Fern number {i} likes shade. " * 6 for i in range(12))
    (tmp_path / "docs" / "ferns.md").write_text(text)
    kb = tmp_path / "wide"
    sizes = ("--max-tokens", 64, "--overlap", 8)
    m3rag("index", tmp_path / "docs", "--to", kb, "--model", "tiny", *sizes)
    command = ("ask", "fern number 7", "--in", kb, "-k", 1, "--json")
    narrow, wide = (json.loads(m3rag(*command, *more)[1]) for more in ((), ("--neighbours", 1)))
    assert wide["answer"] == narrow["answer"]
    short, long = (found["hits"][0]["passage"] for found in (narrow, wide))
    assert long["start"] < short["start"] < short["end"] < long["end"]
    assert short["text"] in long["text"]
    assert text[long["start"] : long["end"]].split() == long["text"].split()


def test_index_named_fields_of_records(m3rag, tmp_path):
    (tmp_path / "docs").mkdir()
    record = {"id": "A-7", "text": {"body": "Ferns like shade."}, "internal": "XYZ"}
    (tmp_path / "docs" / "a.jsonl").write_text(json.dumps(record))
    kb = tmp_path / "records"
    index = ("index", tmp_path / "docs", "--to", kb, "--model", "tiny", "--json")
    code, out, _ = m3rag(*index, "--text-field", "body")
    assert code == 1
    assert (
        "its fields are 'id', 'text.body', 'internal'" in json.loads(out)["failed"]["docs/a.jsonl"]
    )
    fields = ("--text-field", "title", "--text-field", "text.body", "--id-field", "id")
    assert m3rag(*index, *fields)[0] == 0
    _, out, _ = m3rag("ask", "shade", "--in", kb, "--json")
    passage = json.loads(out)["hits"][0]["passage"]
    assert (passage["text"], passage["headings"]) == ("A-7\n\nFerns like shade.", ["A-7"])
    _, out, _ = m3rag(*index)
    assert json.loads(out)["replaced"] == ["docs/a.jsonl"]


def test_ask_reranked(m3rag, kb, cross_folder):
    command = ("ask", "How is soil moisture measured?", "--in", kb, "-k", 2, "--json")
    code, out, _ = m3rag(*command, "--rerank", cross_folder, "--rerank-candidates", 3)
    scores = [hit["score"] for hit in json.loads(out)["hits"]]
    assert code == 0
    assert scores == sorted(scores, reverse=True)
    assert scores == [hit["cross_encoder"] for hit in json.loads(out)["hits"]]
    code, _, err = m3rag(*command, "--rerank", "tiny")
    assert code == 1
    assert "is an M3 model" in err


def test_ask_balanced(m3rag, kb):
    command = ("ask", "soil", "--in", kb, "--json")
    plain, same = (json.loads(m3rag(*command, *more)[1]) for more in ((), ("--balance", "lang")))
    assert plain == same  # no passage has the field
    code, _, err = m3rag(*command, "--balance", "lang", "--fusion", "rrf")
    assert code == 1
    assert "uses ranks only" in " ".join(err.split())


def test_ask_with_a_filter(m3rag, kb):
    for where in ("document_id=handbook/pumps.md", '{"document_id": ["handbook/pumps.md"]}'):
        _, out, _ = m3rag("ask", "soil", "--in", kb, "--filter", where, "--json")
        hits = json.loads(out)["hits"]
        assert {hit["passage"]["document_id"] for hit in hits} == {"handbook/pumps.md"}


def test_ask_with_a_filter_that_nothing_matches(m3rag, kb):
    for where, reason in (
        ("format=pdf", "No passage matches the filter."),
        ("fromat=pdf", "No passage has the field 'fromat'. Did you mean 'format'?"),
        ('{"$or": [{"x": 1}, {"id": "y"}]}', "No passage has the field 'x'. The fields are "),
    ):
        code, out, _ = m3rag("ask", "soil", "--in", kb, "--filter", where)
        assert code == 0
        assert f"Nothing found. {reason}" in out
    code, out, err = m3rag("ask", "soil", "--in", kb, "--filter", "fromat=pdf", "--json")
    assert (code, json.loads(out)["hits"]) == (0, [])
    assert "Did you mean 'format'?" in err


def test_delete_refuses_names_that_do_not_exist(m3rag, kb):
    for option, reason in (
        (("--document", "handbook/pump.md"), "no document 'handbook/pump.md'. Did you mean"),
        (("--filter", '{"$not": {"fromat": "pdf"}}'), "field 'fromat'. Did you mean 'format'?"),
    ):
        code, _, err = m3rag("delete", "--in", kb, *option)
        assert code == 1
        assert reason in err
        assert "Nothing was deleted." in err
    assert json.loads(m3rag("info", "--in", kb, "--json")[1])["passages"] > 0


def test_info(m3rag, kb):
    _, out, _ = m3rag("info", "--in", kb, "--json")
    facts = json.loads(out)
    assert facts["model"] == "tiny"
    assert set(facts["documents"]) == {
        "handbook/pumps.md",
        "handbook/soil.md",
        "handbook/weather.txt",
    }
    _, out, _ = m3rag("info", "--in", kb)
    assert "handbook/soil.md" in out


def test_encode(m3rag):
    code, out, _ = m3rag("encode", "soil moisture", "--model", "tiny", "--json", "--colbert")
    views = json.loads(out)
    assert code == 0
    assert len(views["dense"]) == 256
    assert len(views["colbert"]) == views["tokens"] - 1
    _, out, _ = m3rag("encode", "soil moisture", "--model", "tiny")
    assert "▁mo" in out


def test_a_folder_that_changes(m3rag, tmp_path):
    docs, kb = tmp_path / "docs", tmp_path / "kb"
    docs.mkdir()
    (docs / "a.txt").write_text("Apples grow on trees.")
    (docs / "b.txt").write_text("Bananas grow on plants.")
    index = ("index", docs, "--to", kb, "--json")
    code, out, _ = m3rag(*index, "--model", "tiny", "--colbert", "on-demand")
    assert json.loads(out)["added"] == ["docs/a.txt", "docs/b.txt"]
    (docs / "a.txt").write_text("Apples are red.")
    (docs / "b.txt").unlink()
    (docs / "c.txt").write_bytes(b"\x00\x00")
    code, out, _ = m3rag(*index)
    changes = json.loads(out)
    assert code == 1, "a document could not be read"
    assert (changes["replaced"], changes["removed"]) == (["docs/a.txt"], ["docs/b.txt"])
    assert "docs/c.txt" in changes["failed"]
    code, out, _ = m3rag("delete", "--in", kb, "--document", "docs/a.txt", "--json")
    assert json.loads(out) == {"kb": str(kb), "deleted": 1, "left": 0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["index", "{tmp}/nowhere", "--to", "{tmp}/kb"], "nowhere"),
        (["index", "{tmp}", "--to", "{tmp}/kb", "--model", "tiny"], "file to index"),
        (["index", "{docs}", "--to", "{tmp}/kb", "--model", "./none"], "no model folder"),
        (["index", "{docs}", "--to", "{kb}", "--colbert", "off"], "colbert"),
        (["index", "{docs}", "--to", "{tmp}/kb", "--model", "tiny", "--max-tokens", "3"], "16"),
        (["ask", "soil", "--in", "{tmp}/nothing"], "not an m3rag index"),
        (["ask", "soil", "--in", "{docs}"], "not an m3rag index"),
        (["ask", " ", "--in", "{kb}"], "query is empty"),
        (["ask", "soil", "--in", "{kb}", "-k", "0"], "`k` must be an integer of at least 1, got 0"),
        (["ask", "soil", "--in", "{kb}", "--weights", "best"], "cross-lingual"),
        (["ask", "soil", "--in", "{kb}", "--filter", "lang"], "neither key=value"),
        (["ask", "soil", "--in", "{kb}", "--filter", "{{"], "not JSON"),
        (["explain", " ", "--in", "{kb}"], "query is empty"),
        (
            ["explain", "soil", "--in", "{kb}", "-k", "0"],
            "`k` must be an integer of at least 1, got 0",
        ),
        (["explain", "soil", "--in", "{kb}", "-k", "2", "--passage", "x"], "Use only one of them"),
        (["explain", "soil", "--in", "{kb}", "--passage", "x"], "no passage 'x'"),
        (["explain", "soil", "--in", "{kb}", "--html", "{tmp}/no/x.html"], "cannot be written"),
        (["delete", "--in", "{kb}"], "Specify what to delete"),
        (["info", "--in", "{tmp}"], "not an m3rag index"),
        (["encode", "x", "--model", "{docs}"], "not a model folder"),
    ],
)
def test_bad_input_is_one_clear_line(m3rag, kb, handbook, tmp_path, arguments, message):
    places = {"tmp": tmp_path, "kb": kb, "docs": handbook}
    code, _, err = m3rag(*(argument.format(**places) for argument in arguments))
    text = " ".join(err.split())
    assert code == 1
    assert message in text
    assert "Traceback" not in err


def start_long_run(tmp_path):
    """Index so much text in another process that it can be stopped half way."""
    docs, kb = tmp_path / "docs", tmp_path / "kb"
    docs.mkdir()
    for i in range(40):
        lines = (f"Plant {i}.{j} needs water every {j} days and likes shade." for j in range(200))
        (docs / f"{i:02}.txt").write_text("\n\n".join(lines))
    command = [sys.executable, "-m", "m3rag", "index", docs, "--to", kb, "--model", "tiny"]
    environment = os.environ | {"COLUMNS": "200"}
    process = subprocess.Popen(
        [*command, "--json"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        preexec_fn=hear_ctrl_c,
    )
    deadline = time.monotonic() + 60
    while not (kb / "passages.db").exists() and time.monotonic() < deadline:  # the store is open
        time.sleep(0.05)
    time.sleep(0.7)
    return process, command


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_loses_nothing_and_continues(tmp_path, sent):
    process, command = start_long_run(tmp_path)
    assert process.poll() is None, "the run is not over yet"
    process.send_signal(sent)
    _, err = process.communicate(timeout=60)
    if sent == signal.SIGINT:
        assert process.returncode == 130
        assert b"Stored documents are kept" in err
        assert b"Traceback" not in err
    again = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    changes = json.loads(again.stdout)
    assert len(changes["added"]) + len(changes["replaced"]) + len(changes["unchanged"]) == 40
    info = [sys.executable, "-m", "m3rag", "info", "--in", tmp_path / "kb", "--json"]
    facts = json.loads(subprocess.run(info, capture_output=True, text=True, check=True).stdout)
    assert facts["passages"] == changes["total"]
    assert len(facts["documents"]) == 40
    assert len(set(facts["documents"].values())) <= 3, "every document is whole"


def test_info_and_delete_import_little_and_start_no_engine(kb):
    code = (
        "import sys, subprocess\n"
        "subprocess.Popen = None  # no process is started\n"
        "from m3rag.cli.app import app\n"
        f"for command in (['info'], ['delete', '--filter', 'format=none']):\n"
        f"    app([*command, '--in', {str(kb)!r}, '--json'], standalone_mode=False)\n"
        "print({'torch', 'asyncio', 'm3rag.service'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
    assert json.loads(done.stdout.splitlines()[1])["deleted"] == 0


def test_ask_shows_the_header_of_a_table_and_the_page(m3rag, tmp_path):
    folder = tmp_path / "garden"
    folder.mkdir()
    rows = "\n".join(f"| Moss {n} | {n} | half shade |" for n in range(40))
    (folder / "plan.md").write_text(f"| Plant | Litres | Light |\n|---|---|---|\n{rows}\n")
    options = ("--to", tmp_path / "kb", "--model", "tiny", "--max-tokens", "64")
    assert m3rag("index", folder, *options)[0] == 0
    ask = ("ask", "Litres of Moss 33?", "--in", tmp_path / "kb", "-k", "1")
    _, out, _ = m3rag(*ask)
    assert "\n   | Plant | Litres | Light |\n   | Moss " in out
    found = json.loads(m3rag(*ask, "--json")[1])
    assert found["hits"][0]["passage"]["table_header"] == "| Plant | Litres | Light |"
    assert found["answer"]["page"] is None
