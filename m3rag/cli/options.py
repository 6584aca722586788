"""Arguments and options of several commands, and options generated from settings classes."""

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

In = Annotated[str, typer.Option("--in", help="Knowledge base folder.")]
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

_TYPES: dict[str, Any] = {
    "Path": Path,
    "float": float,
    "int": int,
    "bool": bool,
    "tuple[str, ...]": list[str],
}


def search_options(command: Command) -> Command:
    """Add an option for each field of `SearchSettings` to a command."""
    parsers = {"weights": parse_weights_option, "channels": parse_list, "filter": parse_filters}
    return settings_options(SearchSettings, parsers, types={"filter": list[str]})(command)


def settings_options(
    settings: type[Any],
    parsers: Mapping[str, Callable[[Any], Any]] | None = None,
    *,
    types: Mapping[str, Any] | None = None,
) -> Callable[[Command], Command]:
    """Return a decorator that replaces the parameter `settings` of a command by options.

    Each field of the settings class becomes an option with the default of the field and the help in
    its metadata, so that a setting is declared only once. "option" in the metadata names the
    option; a bool then has no `--no-…`.

    Args:
        settings: A dataclass with defaults.
        parsers: Functions from the value of an option to that of its field, by field.
        types: The types of options that differ from those of their fields, by field.
    """
    declared = fields(settings)

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(**arguments: Any) -> None:
            values = {}
            for setting in declared:
                value = arguments.pop(setting.name)
                if value is not None:  # otherwise the field keeps its default
                    parse = (parsers or {}).get(setting.name)
                    values[setting.name] = parse(value) if parse else value
            command(**arguments, settings=settings(**values))

        signature = inspect.signature(command, eval_str=True)
        parameters = []
        for name, parameter in signature.parameters.items():
            if name == "settings":
                parameters += [_option(field, (types or {}).get(field.name)) for field in declared]
            else:
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
        run.__dict__["__signature__"] = signature.replace(parameters=parameters)  # typer reads it
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _option(setting: Field[Any], kind: Any) -> inspect.Parameter:
    """Return the parameter from which typer makes an option."""
    kind = kind or _TYPES.get(str(setting.type).removesuffix(" | None"), str)
    default = None if setting.default == () else setting.default
    if default is None:
        kind = kind | None
    names = [setting.metadata["option"]] if "option" in setting.metadata else []
    # A list with spaces can wrap: narrow terminals would cut it off otherwise.
    shown = default.replace(",", ", ") if isinstance(default, str) and "," in default else True
    option = typer.Option(*names, help=setting.metadata["help"], show_default=shown)
    return inspect.Parameter(
        setting.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, option],
    )


def parse_filters(values: Sequence[str]) -> dict[str, Any] | None:
    """Return the values of `--filter` as one filter for `M3Index.search`.

    Raises:
        InputError: A value is neither `key=value` nor a JSON object.
    """
    if not values:
        return None
    parts = []
    for text in values:
        if text.lstrip().startswith("{"):
            try:
                parts.append(json.loads(text))
            except ValueError as error:
                raise InputError(f"--filter {text!r} is not JSON: {error}.") from None
            continue
        key, sign, value = text.partition("=")
        if not (key and sign):
            raise InputError(f"--filter {text!r} is neither key=value nor a JSON object.")
        scalars = [_scalar(part) for part in value.split(",")]
        parts.append({key: scalars if len(scalars) > 1 else scalars[0]})
    return parts[0] if len(parts) == 1 else {"$and": parts}


def parse_weights_option(text: str) -> Weights:
    """Return the name of a preset unchanged, or numbers such as "1/0.3/1" as a tuple.

    Raises:
        InputError: A part between the slashes is not a number.
    """
    if "/" not in text:
        return text
    try:
        return tuple(float(part) for part in text.split("/"))
    except ValueError:
        raise InputError(
            f"--weights {text!r} is neither a name nor numbers such as 1/0.3/1."
        ) from None


def parse_list(text: str) -> list[str]:
    """Return the parts of a comma-separated option."""
    return [part for part in (part.strip() for part in text.split(",")) if part]


def _scalar(text: str) -> str | int | float | bool:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str | int | float | bool) else text
