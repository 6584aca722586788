"""The chat example: its output, its memory and its citations."""

import importlib.util
from pathlib import Path

import pytest

from tests.langchain.scripted import scripted

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("chat", EXAMPLES / "rag_chat_langchain.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two short files."""
    folder = tmp_path_factory.mktemp("documents")
    (folder / "ferns.md").write_text("# Ferns\n\n## Light\n\nFerns like shade.\n")
    (folder / "bombas.txt").write_text("La bomba riega las plantas por la noche.\n")
    return folder


def chat(example, folder, tiny, *answers):
    llm = scripted(*answers)
    return example.Chat(folder, llm, tiny), llm


def test_citations_point_into_the_document(example, folder, tiny):
    talk, _ = chat(example, folder, tiny, "In the shade [1], not [9].")
    answer = talk.ask("Where do ferns grow?")
    assert answer.text == "In the shade [1], not."  # there is no passage 9
    assert (answer.cited, answer.removed, answer.supported) == ((1,), (9,), True)
    passage = answer.citations[1].passage
    assert example.citation(passage) == "ferns.md › Ferns, characters 0 to 36"
    whole = (folder / "ferns.md").read_text()
    assert whole[passage.start : passage.end] == passage.text


def test_the_chat_remembers_earlier_turns(example, folder, tiny):
    talk, llm = chat(
        example, folder, tiny, "In the shade [1].", "When does the pump run?", "At night [1]."
    )
    talk.ask("Where do ferns grow?")
    answer = talk.ask("And when does it run?")
    assert answer.citations[1].passage.document_id == "bombas.txt"
    first, alone, second = ([message.text for message in prompt] for prompt in llm.prompts)
    assert "[1] # Ferns" in first[0]
    assert alone[:2] == second[1:3] == ["Where do ferns grow?", "In the shade [1]."]
    assert second[3] == "And when does it run?"


def test_a_question_needs_one_pass(example, folder, fresh):
    talk, _ = chat(example, folder, fresh, "In the shade [1].")
    before = fresh.encoded
    talk.ask("Where do ferns grow?")
    assert fresh.encoded - before == 1


def test_the_script_runs(example, capsys):
    example.main("tiny")  # fast
    printed = capsys.readouterr().out
    assert "[1] fr-plant-security.md › " in printed
    assert "Clés symétriques et asymétriques, characters 9," in printed
    assert printed.count("\n> ") == 1
