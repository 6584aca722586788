"""The settings of a search are declared once and shared by all callers."""

import inspect
from dataclasses import fields

import pytest

from m3rag.answers import answer
from m3rag.errors import InputError
from m3rag.index.settings import DEFAULTS, SearchOptions, SearchSettings

NAMES = [field.name for field in fields(SearchSettings)]


def test_keyword_arguments_are_the_fields():
    assert list(SearchOptions.__annotations__) == NAMES
    options = {name: kind.__forward_arg__ for name, kind in SearchOptions.__annotations__.items()}
    assert options == SearchSettings.__annotations__


def test_the_langchain_retriever_has_the_fields_and_their_defaults():
    from m3rag.langchain import M3EnsembleRetriever

    own = M3EnsembleRetriever.model_fields
    for field in fields(SearchSettings):
        assert own[field.name].default == field.default


def test_the_llama_index_retriever_accepts_the_fields(index):
    from m3rag.llama_index import M3EnsembleRetriever

    retriever = M3EnsembleRetriever(index, weights=(1, 0, 0), candidates=50)
    assert retriever.settings == SearchSettings(weights=(1, 0, 0), candidates=50)
    assert M3EnsembleRetriever(index).settings == DEFAULTS
    with pytest.raises(TypeError, match="wieghts"):
        M3EnsembleRetriever(index, wieghts="default")


def test_all_functions_have_the_same_default_weights():
    from m3rag.explanation import explain
    from m3rag.index import M3Index

    assert DEFAULTS.weights == "default"
    for takes_weights in (explain, M3Index.rescore):
        assert inspect.signature(takes_weights).parameters["weights"].default == "default"
    for takes_settings in (M3Index.search, M3Index.asearch_many, answer):
        assert inspect.signature(takes_settings).parameters["settings"].default is DEFAULTS


def test_options_override_settings(index):
    settings = SearchSettings(channels=["dense"], filter={"lang": "es"})
    hits = index.search("shade", settings=settings)
    assert [hit.passage.id for hit in hits] == ["helecho"]
    assert hits[0].sparse is None
    hits = index.search("shade", settings=settings, channels=["sparse"], filter={"lang": "en"})
    assert {hit.passage.metadata["lang"] for hit in hits} == {"en"}
    assert all(hit.dense is None and hit.sparse is not None for hit in hits)


def test_unknown_options_are_an_error(index):
    with pytest.raises(TypeError, match="wieghts"):
        index.search("shade", wieghts="default")


def test_the_command_line_has_an_option_for_each_field():
    import typer

    from m3rag.cli.app import app

    commands = typer.main.get_command(app).commands
    for name, without in (("ask", set[str]()), ("explain", {"--min-score"})):
        options = {option for parameter in commands[name].params for option in parameter.opts}
        assert options >= {f"--{field}".replace("_", "-") for field in NAMES} - without


def test_settings_are_frozen_and_checked_late(index):
    with pytest.raises(AttributeError):
        setattr(DEFAULTS, NAMES[0], "rrf")
    settings = SearchSettings(weights="missing")  # checked by the index, which has the presets
    with pytest.raises(InputError, match="Unknown weights 'missing'"):
        index.check(1, settings=settings)


def test_settings_of_a_retriever_of_llama_index_can_be_assigned(index):
    from m3rag.llama_index import M3EnsembleRetriever

    retriever = M3EnsembleRetriever(index, similarity_top_k=2)
    assert (retriever.weights, retriever.channels) == ("default", None)
    retriever.channels = ["sparse"]
    retriever.weights = (0, 1, 0)
    assert [set(node.scores) for node in retriever.retrieve("shade")] == [{"sparse"}]
    assert retriever.settings == SearchSettings(weights=(0, 1, 0), channels=["sparse"])


@pytest.mark.parametrize("options", [{"weights": 5}, {"weights": None}, {"channels": 5}])
def test_settings_of_another_type(index, options):
    with pytest.raises(InputError, match=r"`(weights|channels)` must be"):
        index.search("shade", **options)
