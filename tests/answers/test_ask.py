"""`m3rag ask` with a language model and with a threshold."""

import json

import pytest

from m3rag import M3Index
from m3rag.index.presets import Preset
from tests.answers.conftest import PASSAGES, says

pytestmark = pytest.mark.enable_socket

QUESTION = "How often do I water ferns?"
FAKE = "langchain_core.language_models.fake_chat_models:FakeListChatModel"


@pytest.fixture
def ask(m3rag, kb):
    """A function that runs `m3rag ask`: (exit code, stdout on one line, stderr on one line)."""

    def run(*arguments):
        code, out, err = m3rag("ask", QUESTION, "--in", kb, *arguments)
        return code, " ".join(out.split()), " ".join(err.split())

    return run


@pytest.fixture(scope="module")
def kb(tiny, tmp_path_factory):
    kb = tmp_path_factory.mktemp("kbs") / "kb"
    with M3Index.open(kb, model=tiny) as index:
        index.add(PASSAGES)
        index.save_preset("strict", Preset((1, 0, 1), min_score=2.0))
    return kb


def test_a_written_answer_follows_the_passages(ask):
    reply = json.dumps(['Twice: "water them daily" [1][9].'])
    code, out, _ = ask("--llm", f"{FAKE},responses={reply}")
    assert code == 0
    shown, written = out.split("Answer: ")
    assert shown.startswith("Best sentence:")
    assert "3. " in shown
    assert written.startswith('Twice: "water them daily" [1]. [1] fern.md')
    assert "Removed citations of passages that do not exist: 9." in written
    assert "Quotation not found in [1]: “water them daily”." in written
    assert "Unsupported" not in written


def test_the_answer_of_a_server_as_json(ask, serve, monkeypatch):
    monkeypatch.setenv("M3RAG_LLM_API_KEY", "s3cret")
    with serve(says("“Water them” twice [1].")) as (url, requests):
        code, out, _ = ask("--llm-url", url, "--llm-model", "small", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["written"] == {
        "text": "“Water them” twice [1].",
        "supported": True,
        "citations": [
            {
                "number": 1,
                "passage_id": "fern#0",
                "document_id": "fern.md",
                "page": None,
                "start": None,
                "end": None,
            }
        ],
        "removed": [],
        "quotes": [{"text": "Water them", "numbers": [1], "found": True}],
    }
    assert requests[0][1]["Authorization"] == "Bearer s3cret"
    assert found.keys() == {"question", "kb", "answer", "hits", "written"}


def test_without_a_model_nothing_is_written(ask):
    assert json.loads(ask("--json")[1]).keys() == {"question", "kb", "answer", "hits"}
    assert "Answer:" not in ask()[1]


def test_an_unsupported_answer_is_marked(ask):
    _, out, _ = ask("--llm", f'{FAKE},responses=["Who knows?"]')
    assert out.endswith("Answer: Who knows? Unsupported: the answer cites no passage.")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--llm", "langchain_fern:ChatFern"], "often called langchain-fern"),
        (["--llm", "json:JSONDecoder"], "is not a language model"),
        (["--llm", f"{FAKE},responses=[]"], "FakeListChatModel failed: IndexError"),
        (["--llm-url", "http://127.0.0.1:9/v1", "--llm-model", "x"], "cannot be reached"),
    ],
)
def test_the_passages_survive_a_model_that_fails(ask, monkeypatch, options, message):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    code, out, err = ask(*options)
    assert code == 1
    assert "Best sentence:" in out
    assert "3. " in out
    assert message in err
    code, out, err = ask(*options, "--json")
    assert code == 1
    found = json.loads(out)
    assert len(found["hits"]) == 3
    assert found["written"] is None
    assert message in found["error"]
    assert message in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--llm", "a:b", "--llm-url", "http://x"], "but not both"),
        (["--llm-url", "http://x"], "must be given together"),
        (["--llm-model", "x"], "must be given together"),
    ],
)
def test_options_that_contradict_each_other(ask, options, message):
    code, out, err = ask(*options)
    assert (code, out) == (1, "")
    assert message in err


def test_a_function_in_the_working_directory(ask, tmp_path, monkeypatch):
    (tmp_path / "own_llm.py").write_text(
        "def make():\n    return lambda instructions, request: 'Twice a week [1].'\n"
    )
    monkeypatch.chdir(tmp_path)
    code, out, _ = ask("--llm", "own_llm:make")
    assert code == 0
    assert "Answer: Twice a week [1]." in out


def test_below_the_threshold_nothing_answers_and_no_model_is_called(ask, serve):
    with serve(says("Twice [1].")) as (url, requests):
        llm = ["--llm-url", url, "--llm-model", "small"]
        code, out, _ = ask("--weights", "strict", *llm)
        assert code == 0
        assert out.startswith(
            "Nothing in the knowledge base answers the question: the best score is 0."
        )
        assert "but 2.000 is required. Nearest passages: 1. " in out
        assert "Best sentence" not in out
        assert "Answer:" not in out
        found = json.loads(ask("--weights", "strict", "--json", *llm)[1])
        assert (found["refused"], found["min_score"]) == (True, 2.0)
        assert found["answer"] is found["written"] is None
        assert len(found["hits"]) == 3
        assert requests == []
        assert "Answer: Twice [1]." in ask("--weights", "strict", "--min-score", "0.1", *llm)[1]
    assert "Nothing in the knowledge base" in ask("--min-score", "0.99")[1]
    assert "Best sentence" in ask("--weights", "strict", "--fusion", "rrf")[1]
