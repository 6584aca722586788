"""Arguments and options that several commands share, and options made of settings classes."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from m3rag.errors import InputError
from m3rag.index.settings import SearchSettings

if TYPE_CHECKING:
    from m3rag.scoring import Weights

DEFAULT_MODEL = "BAAI/bge-m3"

In = Annotated[Path, typer.Option("--in", help="Knowledge base folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Question = Annotated[str, typer.Argument(help="Question, in any language that the model supports.")]
Model = Annotated[str, typer.Option(help='Model: hub id, folder, or "tiny" (bundled, not BGE-M3).')]
Filter = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        help="Delete only passages that match: key=value, key=a,b (any of the values), or a JSON "
        'filter such as \'{"year": {"gte": 2020}}\'. Repeatable; all filters must match.',
    ),
]

Command = Callable[..., None]

_TYPES: dict[str, Any] = {"float": float, "int": int, "bool": bool, "tuple[str, ...]": list[str]}


def search_options(command: Command) -> Command:
    """Give a command an option for each field of `SearchSettings`."""
    parsers = {"weights": parse_weights_option, "channels": parse_list, "filter": parse_filters}
    return settings_options(SearchSettings, parsers, types={"filter": list[str]})(command)


def settings_options(
    settings: type[Any],
    parsers: Mapping[str, Callable[[Any], Any]] | None = None,
    *,
    types: Mapping[str, Any] | None = None,
) -> Callable[[Command], Command]:
    """Return a decorator that replaces the parameter `settings` of a command by options.

    Each field of the settings class becomes an option with the field's default and the help in
    its metadata, so that a setting is declared only once. "option" in the metadata names the
    option; a bool then has no `--no-…`.

    Args:
        settings: A dataclass with defaults.
        parsers: Turn the values of some options into those of their fields.
        types: The types of some options; by default those of the fields.
    """
    own = fields(settings)

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(**given: Any) -> None:
            values = {}
            for one in own:
                value = given.pop(one.name)
                if value is not None:  # else the field keeps its default
                    parse = (parsers or {}).get(one.name)
                    values[one.name] = parse(value) if parse else value
            command(**given, settings=settings(**values))

        signature = inspect.signature(command, eval_str=True)
        parameters = []
        for name, parameter in signature.parameters.items():
            if name == "settings":
                parameters += [_option(one, (types or {}).get(one.name)) for one in own]
            else:
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # typer reads it
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        return run

    return decorate


def _option(one: Field[Any], kind: Any) -> inspect.Parameter:
    """Return the parameter that typer makes an option of."""
    declared = str(one.type)
    kind = kind or _TYPES.get(declared.removesuffix(" | None"), str)
    default = None if one.default == () else one.default
    if default is None:
        kind = kind | None
    names = [one.metadata["option"]] if "option" in one.metadata else []
    option = typer.Option(*names, help=one.metadata["help"])
    return inspect.Parameter(
        one.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, option],
    )


def parse_filters(given: Sequence[str]) -> dict[str, Any] | None:
    """Return the values of `--filter` as one filter for `M3Index.search`.

    Raises:
        InputError: A value is neither `key=value` nor a JSON object.
    """
    if not given:
        return None
    parts = []
    for text in given:
        if text.lstrip().startswith("{"):
            try:
                parts.append(json.loads(text))
            except ValueError as error:
                raise InputError(f"--filter {text!r} is not JSON: {error}.") from None
            continue
        key, sign, value = text.partition("=")
        if not (key and sign):
            raise InputError(f"--filter {text!r} is neither key=value nor a JSON object.")
        values = [_scalar(part) for part in value.split(",")]
        parts.append({key: values if len(values) > 1 else values[0]})
    return parts[0] if len(parts) == 1 else {"$and": parts}


def parse_weights_option(given: str) -> Weights:
    """Return the name of a preset as it is, or numbers such as "1/0.3/1" as a tuple.

    Raises:
        InputError: A part between the slashes is not a number.
    """
    if "/" not in given:
        return given
    try:
        return tuple(float(part) for part in given.split("/"))
    except ValueError:
        raise InputError(f"--weights {given!r} is neither a name nor numbers as 1/0.3/1.") from None


def parse_list(given: str) -> list[str]:
    """Return the parts of a comma-separated option."""
    return [part for part in (part.strip() for part in given.split(",")) if part]


def _scalar(text: str) -> str | int | float | bool:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str | int | float | bool) else text
