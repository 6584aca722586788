"""The settings of a search are declared once, and every caller has the same ones."""

import inspect
from dataclasses import fields

import pytest

from m3rag.answers import answer
from m3rag.errors import InputError
from m3rag.index.settings import DEFAULTS, SearchOptions, SearchSettings

NAMES = [field.name for field in fields(SearchSettings)]


def test_keyword_arguments_are_the_fields():
    assert list(SearchOptions.__annotations__) == NAMES
    options = {name: one.__forward_arg__ for name, one in SearchOptions.__annotations__.items()}
    assert options == SearchSettings.__annotations__


def test_the_retriever_of_langchain_has_the_fields_and_their_defaults():
    from m3rag.langchain import M3EnsembleRetriever

    own = M3EnsembleRetriever.model_fields
    for field in fields(SearchSettings):
        assert own[field.name].default == field.default


def test_the_retriever_of_llama_index_takes_the_fields(index):
    from m3rag.llama_index import M3EnsembleRetriever

    retriever = M3EnsembleRetriever(index, weights=(1, 0, 0), candidates=50)
    assert retriever.settings == SearchSettings(weights=(1, 0, 0), candidates=50)
    assert M3EnsembleRetriever(index).settings == DEFAULTS
    with pytest.raises(TypeError, match="wieghts"):
        M3EnsembleRetriever(index, wieghts="default")


def test_everyone_weighs_the_same_preset():
    from m3rag.explanation import explain
    from m3rag.index import M3Index

    assert DEFAULTS.weights == "default"
    for function in (explain, M3Index.rescore):
        assert inspect.signature(function).parameters["weights"].default == "default"
    for function in (M3Index.search, M3Index.asearch_many, answer):
        assert inspect.signature(function).parameters["settings"].default is DEFAULTS


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
    for name in ("ask", "explain"):
        options = {option for parameter in commands[name].params for option in parameter.opts}
        assert options >= {f"--{field}" for field in NAMES}


def test_settings_are_frozen_and_checked_late(index):
    with pytest.raises(AttributeError):
        DEFAULTS.weights = "rrf"
    settings = SearchSettings(weights="nobody's")  # only an index knows its presets
    with pytest.raises(InputError, match="nobody's"):
        index.check(1, settings=settings)
