"""Without an extra, the core works, and errors name the extra to install."""

import subprocess
import sys

import pytest

WITHOUT = """
import sys
for name in {missing!r}:
    sys.modules[name] = None
sys.argv = ["m3rag", *{arguments!r}]
{code}
"""


def run(code, missing, *arguments):
    """Run code in a process in which the modules in `missing` cannot be imported."""
    program = WITHOUT.format(code=code, missing=missing, arguments=[str(a) for a in arguments])
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


@pytest.mark.parametrize("missing", [["typer"], ["rich"], ["typer", "rich"]])
def test_the_command_names_its_extra(missing):
    done = run("from m3rag.cli import main; main()", missing, "--version")
    assert done.returncode == 1
    assert done.stderr == (
        f'Error: {missing[0]} is not installed. Install it: pip install "m3rag[cli]"\n'
    )


DOCUMENTS = ["bs4", "lxml", "pypdfium2", "docx", "python_calamine", "striprtf", "oxmsg"]


@pytest.mark.parametrize(
    ("name", "library"),
    [
        ("a.html", "bs4"),
        ("a.htm", "bs4"),
        ("a.pdf", "pypdfium2"),
        ("a.docx", "docx"),
        ("a.pptx", "lxml"),
        ("a.xlsx", "python_calamine"),
        ("a.rtf", "striprtf"),
        ("a.msg", "oxmsg"),
    ],
)
def test_a_format_names_its_extra(tmp_path, name, library):
    (tmp_path / name).write_text("<p>text</p>")
    done = run(f"from m3rag import read; read({str(tmp_path / name)!r})", DOCUMENTS)
    assert done.stderr.splitlines()[-1] == (
        f"m3rag.errors.MissingExtraError: {library} is not installed. "
        'Install it: pip install "m3rag[documents]"'
    )


def test_markdown_and_text_need_no_extra(tmp_path):
    for name in ("a.md", "a.txt"):
        (tmp_path / name).write_text("# Ferns\n\nFerns like shade.\n")
        code = f"from m3rag import read; print(read({str(tmp_path / name)!r}).text)"
        done = run(code, [*DOCUMENTS, "typer", "rich"])
        assert "Ferns like shade." in done.stdout, done.stderr


def test_the_parsers_of_other_formats_need_no_extra():
    names = ("csv", "json", "notebook", "rst", "tex", "mbox", "zip")
    code = "\n".join(f"import m3rag.documents.formats.{name}" for name in names)
    done = run(code, [*DOCUMENTS, "typer", "rich"])
    assert done.returncode == 0, done.stderr


def test_a_folder_is_indexed_without_formats_that_lack_their_extra(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# Ferns\n\nFerns like shade.\n")
    (tmp_path / "docs" / "b.html").write_text("<p>Cacti like sun.</p>")
    code = "from m3rag.cli import main; main()"
    arguments = ("index", tmp_path / "docs", "--to", tmp_path / "kb", "--model", "tiny", "--json")
    done = run(code, DOCUMENTS, *arguments)
    assert done.returncode == 1, done.stderr
    assert '"added": ["docs/a.md"]' in done.stdout
    assert 'pip install \\"m3rag[documents]\\"' in done.stdout


def test_the_server_names_its_extra():
    done = run("from m3rag.cli import main; main()", ["fastapi"], "serve", "--model", "tiny")
    assert done.returncode == 1
    assert done.stderr == (
        'Error: MissingExtraError: fastapi is not installed. Install it: pip install "m3rag[serve]"'
        "\n"
    )
