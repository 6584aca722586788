"""The documentation is right: its code runs, and its commands, options and links exist."""

import inspect
import json
import os
import re
import shlex

import click
import pytest
import typer

import m3rag
from m3rag import M3Model
from m3rag.cli.app import app
from m3rag.index.manifest import NAME
from m3rag.index.query import CANDIDATES
from m3rag.model.kernels.device import AMX_TOKENS, CPU_TOKENS, GPU_TOKENS
from m3rag.scoring import BM25, PRESETS
from m3rag.stores.edge.store import QUANTIZE_FROM
from tests.docs.blocks import PAGES, ROOT, blocks, commands, python_outputs

TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
WITH_PYTHON = [
    name for name, text in TEXTS.items() if any(b.language == "python" for b in blocks(text))
]
COMMANDS = typer.main.get_command(app).commands


def options(command):
    """Return the options of a command and of its subcommands."""
    below = [options(subcommand) for subcommand in getattr(command, "commands", {}).values()]
    return (
        set().union(*below)
        | {
            name
            for parameter in command.params
            if isinstance(parameter, click.Option) or parameter.param_type_name == "option"
            for name in (*parameter.opts, *parameter.secondary_opts)
        }
        | {"--help"}
    )


# LlamaIndex's workflows read all attributes of a tool, old ones of pydantic too.
@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")
@pytest.mark.parametrize("page", WITH_PYTHON)
def test_python_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.symlink(ROOT / "examples", "examples")
    for block, output, printed in python_outputs(TEXTS[page]):
        assert bool(printed) == (output is not None), block.content


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    for name, text in TEXTS.items():
        shown = set(re.findall(r"(?:`|\$ |=\S+ )make ([a-z]+)", text))
        assert shown <= targets, name
    assert {"demo", "test"} <= set(re.findall(r"make ([a-z]+)", TEXTS["README.md"]))


def test_changelog_is_at_this_version():
    newest = re.search(r"^## \[(\d+\.\d+\.\d+)\]", TEXTS["CHANGELOG.md"], re.MULTILINE)
    assert newest is not None
    assert newest[1] == m3rag.__version__


@pytest.mark.parametrize("page", TEXTS)
def test_links_resolve(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", TEXTS[page], flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)|<img[^>]* src=\"([^\"]+)\"", text)
    for target in (markdown or html for markdown, html in targets):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path.read_text(encoding="utf-8")), target


def anchors(text):
    """Return the ids that Markdown gives headings, and those that are written out."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    ids = set(re.findall(r"\{ ?#([\w-]+) ?\}", text))
    for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        plain = re.sub(r"[^\w\s-]", "", title).strip().lower()
        ids.add(re.sub(r"[\s-]+", "-", plain))
    return ids


@pytest.mark.parametrize("page", TEXTS)
def test_commands_and_their_options_exist(page):
    for block in blocks(TEXTS[page]):
        for line in commands(block) if block.language == "console" else ():
            words = shlex.split(line.partition("|")[0])
            if words[0] != "m3rag" or words[1].startswith("-"):
                continue
            assert words[1] in COMMANDS, line
            used = {word.partition("=")[0] for word in words[2:] if re.match(r"--?[a-z]", word)}
            assert used <= options(COMMANDS[words[1]]), line


def test_cli_page_has_every_command_and_option():
    sections = re.split(r"^## `m3rag (\w+)`.*$", TEXTS["docs/cli.md"], flags=re.MULTILINE)
    described = dict(zip(sections[1::2], sections[2::2], strict=True))
    assert set(described) == set(COMMANDS)
    for name, text in described.items():
        rows = re.findall(r"^\| `(--?[a-z-]+)[^|]*\|", text, re.MULTILINE)
        optional = {o for o in options(COMMANDS[name]) if not o.startswith("--no-")} - {"--help"}
        assert set(rows) == optional, name


def test_the_documented_defaults_are_those_of_the_code():
    """Checks numbers that users set or see; the sentences around them may change."""
    stores, how = TEXTS["docs/stores.md"], TEXTS["docs/how-it-works.md"]
    assert f"{QUANTIZE_FROM:,}" in stores
    assert NAME in stores
    memo = inspect.signature(M3Model.load).parameters["memo_bytes"].default
    assert f"{memo >> 20} MiB" in how
    assert f"{CPU_TOKENS:,}" in how
    assert f"{AMX_TOKENS:,}" in how
    assert f"{GPU_TOKENS:,}" in how
    assert str(CANDIDATES) in how
    for number in (BM25().k1, BM25().b, int(BM25().average_length)):
        assert str(number) in how
    for name, weights in PRESETS.items():
        row = " | ".join(f"{weights[c]:g}" for c in ("dense", "sparse", "colbert"))
        assert f'| `"{name}"` | {row} |' in how


def test_every_public_name_is_on_the_api_page():
    for name in m3rag.__all__:
        assert f"::: m3rag.{name}\n" in TEXTS["docs/api.md"] or name == "M3Error", name


@pytest.mark.parametrize("name", [p.name for p in sorted((ROOT / "notebooks").glob("*.ipynb"))])
def test_notebooks_hold_their_outputs(name):
    notebook = json.loads((ROOT / "notebooks" / name).read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        compile("".join(cell["source"]), name, "exec")
        for output in cell["outputs"]:
            assert output["output_type"] != "error"
            assert output.get("name") != "stderr"
