"""Unknown arguments are refused, and the nearest one is named."""

import pytest

from m3rag.errors import ArgumentError, InputError
from m3rag.frameworks import check_names, names_of, refusing

KNOWN = ("model", "path", "k", "max_tokens", "overlap", "filter", "min_score")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("chunk_size", "max_tokens"),  # the same thing under another name
        ("top_k", "k"),
        ("persist_directory", "path"),
        ("embedding_function", "model"),
        ("score_threshold", "min_score"),
        ("max_token", "max_tokens"),  # a slip of the pen
        ("fitler", "filter"),
        ("Model", "model"),
    ],
)
def test_the_nearest_argument(name, nearest):
    with pytest.raises(ArgumentError) as caught:
        check_names("A class", [name], KNOWN)
    assert str(caught.value) == (
        f"A class has no argument `{name}`. Did you mean `{nearest}`? Its arguments are "
        "model, path, k, max_tokens, overlap, filter, min_score."
    )


def test_an_argument_of_other_classes_gets_advice():
    with pytest.raises(ArgumentError, match=r"no argument `cache_folder`\. Models are in the c"):
        check_names("A class", ["cache_folder"], KNOWN)
    for name in ("query_instruction", "text_instruction", "embed_instruction", "prompts"):
        with pytest.raises(ArgumentError, match=rf"`{name}`\. BGE-M3 was trained without instruct"):
            check_names("A class", [name], KNOWN)


def test_an_argument_like_no_other():
    with pytest.raises(ArgumentError, match=r"no argument `zzz`\. Its arguments are model, path"):
        check_names("A class", ["zzz"], KNOWN)
    with pytest.raises(ArgumentError, match=r"no argument `k`\. It has none\."):
        check_names("A class", ["k"], [])


def test_known_arguments_pass():
    check_names("A class", ["k", "path"], KNOWN)


class Thing:
    @refusing
    def __init__(self, model: str, *, top_n: int = 1) -> None:
        self.values = (model, top_n)


def test_a_constructor_that_refuses():
    assert names_of(Thing.__init__) == ("model", "top_n")
    assert Thing("a", top_n=3).values == ("a", 3)
    with pytest.raises(ArgumentError, match=r"Thing has no argument `topn`\. Did you mean `top_n`"):
        Thing("a", topn=3)
    with pytest.raises(ArgumentError, match=r"Thing: too many positional arguments\. Its"):
        Thing("a", 3)
    with pytest.raises(ArgumentError, match="Thing: missing a required argument: 'model'"):
        Thing()


def test_the_error_is_one_of_ours_and_a_type_error():
    assert issubclass(ArgumentError, InputError)
    assert issubclass(ArgumentError, TypeError)
