"""Arguments and options of several commands, and options generated from settings classes."""

from __future__ import annotations

import functools
import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from m3rag.cli.visible import line
from m3rag.errors import InputError
from m3rag.index.settings import SearchSettings
from m3rag.limits import shown

if TYPE_CHECKING:
    from m3rag.scoring import Weights

_BRIEF = 80  # characters of an argument that a message quotes
DEFAULT_MODEL = "small"  # works offline; in Python it is BAAI/bge-m3

In = Annotated[str, typer.Option("--in", help="Knowledge base: folder, or address on a server.")]
InFolder = Annotated[str, typer.Option("--in", help="Knowledge base folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Question = Annotated[str, typer.Argument(help="Question, in any language that the model supports.")]
Model = Annotated[
    str, typer.Option(help='Model: hub id, folder, "small" or "tiny" (both offline).')
]
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
    option; a bool then has no `--no-…`. A field whose "option" is None has none.

    Args:
        settings: A dataclass with defaults.
        parsers: Functions from the value of an option to that of its field, by field.
        types: The types of options that differ from those of their fields, by field.
    """
    declared = [f for f in fields(settings) if f.metadata.get("option", "") is not None]

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
        InputError: A value is neither `key=value` nor a JSON object, or is not valid Unicode.
    """
    if not values:
        return None
    parts = []
    for text in values:
        check_unicode("--filter", text)
        if text.lstrip().startswith("{"):
            parts.append(_json_filter(text))
            continue
        key, sign, value = text.partition("=")
        if not (key and sign):
            raise InputError(
                f"--filter {shown(text, _BRIEF)} is neither key=value nor a JSON object."
            )
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
            f"--weights {shown(text, _BRIEF)} is neither a name nor numbers such as 1/0.3/1."
        ) from None


def parse_list(text: str) -> list[str]:
    """Return the parts of a comma-separated option."""
    return [part for part in (part.strip() for part in text.split(",")) if part]


def check_unicode(what: str, text: str) -> None:
    """Check that an argument is text: the system hands over any bytes.

    Raises:
        InputError: It has bytes that are not UTF-8, or halves of characters.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{what} is not valid Unicode: {line(text[error.start])} at character "
            f"{error.start + 1:,}. Pass it as UTF-8."
        ) from None


def _json_filter(text: str) -> dict[str, Any]:
    """Return a filter that is given as a JSON object."""
    try:
        parsed: dict[str, Any] = _DECODER.decode(text)
        unescaped = json.dumps(parsed, ensure_ascii=False)
    except RecursionError:
        raise InputError(
            f"--filter {shown(text, _BRIEF)} is nested too deeply. Write it with fewer levels."
        ) from None
    except ValueError as error:
        reason = "a number has too many digits" if "digits" in str(error) else str(error)
        raise InputError(f"--filter {shown(text, _BRIEF)} is not JSON: {reason}.") from None
    check_unicode("--filter", unescaped)
    return parsed


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object, which must name each key once: Python would drop conditions."""
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {shown(twice, _BRIEF)} occurs twice")
    return values


def _not_a_number(text: str) -> float:
    """Refuse NaN and infinity, which JSON does not have."""
    raise ValueError(f"{text} is not a number in JSON")


def _finite(text: str) -> float:
    """Return a number, if it is in the range of a float."""
    value = float(text)
    return value if math.isfinite(value) else _not_a_number(shown(text, _BRIEF))


_DECODER = json.JSONDecoder(
    object_pairs_hook=_once, parse_constant=_not_a_number, parse_float=_finite
)


def _scalar(text: str) -> str | int | float | bool:
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, str | int | float | bool) else text
