"""The chat example and the notebook."""

import json
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(ROOT / "examples/rag_chat_llama_index.py"))


@pytest.fixture
def chat(example, tiny):
    answers = ["One [1].", "The rewritten question.", "Two [2], and no passage [9]."]
    return example["Chat"](example["LESSONS"], example["Prepared"](answers), tiny)


def test_the_example_runs(example, capsys):
    example["main"]("tiny")  # fast
    printed = capsys.readouterr().out
    assert printed.count("> ") >= 2
    assert "[1] fr-plant-security.md › " in printed


def test_the_chat_remembers_and_cites(example, chat):
    first = chat.ask("Was ist ein symmetrischer Schlüssel?")
    second = chat.ask("And how does X.509 do better?")
    assert (first.text, second.text) == ("One [1].", "Two [2], and no passage [9].")
    assert (list(first.cited), list(second.cited)) == ([1], [2])
    assert len(chat.engine.chat_history) == 4


def test_a_citation_is_the_text_of_the_document(example, chat):
    found = chat.ask("Was ist ein symmetrischer Schlüssel?").cited[1]
    document = example["load"](example["LESSONS"] / found.node.ref_doc_id)
    start, end = found.node.start_char_idx, found.node.end_char_idx
    assert document.text[start:end] == found.text
    assert example["citation"](found).endswith(f"characters {start:,} to {end:,}")


def test_the_language_model_sees_numbers_and_no_file_names(chat):
    found = chat.ask("Was ist ein symmetrischer Schlüssel?").cited[1]
    shown = found.node.get_content("llm")
    assert shown.startswith("passage: [1]")
    assert found.node.ref_doc_id not in shown


def test_the_notebook_was_executed():
    notebook = json.loads((ROOT / "notebooks/03_llama_index_rag.ipynb").read_text("utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert all(output["output_type"] != "error" for cell in code for output in cell["outputs"])
