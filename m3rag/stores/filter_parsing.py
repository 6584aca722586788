"""Turn the dict of a filter into its tree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from m3rag.errors import InputError
from m3rag.limits import Limits, is_number, shown
from m3rag.stores.filter_checks import (
    check_bounds,
    check_field,
    check_pattern,
    check_tree,
    check_value,
)
from m3rag.stores.filter_tree import (
    BOUNDS,
    LISTS,
    PATTERNS,
    And,
    Equals,
    Exists,
    Filter,
    In,
    Not,
    Or,
    Pattern,
    Range,
    Value,
)
from m3rag.values import json_form

OPERATORS = ("eq", "ne", *BOUNDS, "between", "in", "nin", "exists", *PATTERNS)
"""What a field's dict may contain, each also with a "$" in front."""


def parse(spec: object, limits: Limits) -> Filter | None:
    """Return the tree of a dict whose shape has been checked; None if it is empty.

    Raises:
        InputError: An operator, bound or value is invalid; the message lists the valid ones.
    """
    if isinstance(spec, Filter):
        check_tree(spec, limits)
        return spec
    if not isinstance(spec, Mapping):
        raise InputError(f"A filter must be a dict, such as {{'lang': 'es'}}, got {shown(spec)}.")
    parts = [_entry(key, value, limits) for key, value in spec.items()]
    return _all(parts) if parts else None


def _entry(key: object, value: object, limits: Limits) -> Filter:
    if key in ("$and", "$or"):
        parts = _parts(str(key), value, limits)
        return And(parts) if key == "$and" else Or(parts)
    if key == "$not":
        if isinstance(value, list | tuple):
            parts = _parts("$not", value, limits)
            return Not(parts[0] if len(parts) == 1 else Or(parts))
        return Not(_part("$not", value, limits))
    field = check_field(key, limits)
    if isinstance(value, Mapping):
        return _operators(field, value, limits)
    if isinstance(value, LISTS):
        return _in(field, value, limits)
    return Equals(field, _value(field, value, limits))


def _parts(operator: str, value: object, limits: Limits) -> tuple[Filter, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise InputError(f"{operator} takes a list of one or more filters, got {shown(value)}.")
    return tuple(_part(operator, v, limits) for v in value)


def _part(operator: str, value: object, limits: Limits) -> Filter:
    part = None if value is None else parse(value, limits)
    if part is None:
        raise InputError(f"{operator} takes filters with a condition, got {shown(value)}.")
    return part


def _operators(field: str, given: Mapping[Any, Any], limits: Limits) -> Filter:
    """Return the conditions that a dict names for a field; all of them must hold."""
    found: list[Filter] = []
    bounds: dict[str, Any] = {}
    for key, value in given.items():
        name = key.removeprefix("$") if isinstance(key, str) else key
        if name == "between":
            if not isinstance(value, list | tuple) or len(value) != 2:
                raise InputError(
                    f"Filter on {shown(field)}: between takes the lowest and the highest value, "
                    f"got {shown(value)}."
                )
            bounds |= {"gte": _bound(value[0]), "lte": _bound(value[1])}
        elif name in BOUNDS:
            bounds[name] = _bound(value)
        elif name in OPERATORS:
            found.append(_operator(field, name, value, limits))
        else:
            raise _unknown(field, given, key)
    if bounds:
        check_bounds(field, bounds, limits)
        found.append(Range(field, **bounds))
    if not found:
        raise _unknown(field, given, None)
    return _all(found)


def _operator(field: str, name: str, value: object, limits: Limits) -> Filter:
    if name == "exists":
        if not isinstance(value, bool):
            raise InputError(
                f"Filter on {shown(field)}: exists takes True or False, got {shown(value)}."
            )
        return Exists(field) if value else Not(Exists(field))
    if name in PATTERNS:
        text = json_form(value)
        check_pattern(field, name, text, limits)
        return Pattern(field, name, text)
    if name in ("in", "nin"):
        if not isinstance(value, LISTS):
            raise InputError(
                f"Filter on {shown(field)}: {name} takes a list of values, got {shown(value)}."
            )
        found = _in(field, value, limits)
        return found if name == "in" else Not(found)
    equal = Equals(field, _value(field, value, limits))
    return equal if name == "eq" else Not(equal)


def _in(field: str, values: Any, limits: Limits) -> In:
    return In(field, tuple(_value(field, value, limits) for value in values))


def _value(field: str, value: object, limits: Limits) -> Value:
    found = json_form(value)
    check_value(field, found, limits)
    assert isinstance(found, str | int | float)
    return found


def _bound(value: object) -> Any:
    """Return a bound as a 64-bit float, if it is a number and fits, or in its JSON form."""
    found = json_form(value)
    if not is_number(found):
        return found
    try:
        return float(found)
    except OverflowError:  # `check_bounds` says so
        return found


def _all(parts: list[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _unknown(field: str, given: Mapping[Any, Any], key: object) -> InputError:
    what = f"there is no operator {shown(key)}" if key is not None else "no operator is given"
    return InputError(
        f"Filter on {shown(field)}: {what} in {shown(dict(given))}. The operators are "
        f"{', '.join(OPERATORS)}, also with a $ in front. For a key inside a dict, write a path: "
        f"{shown(field[:40] + '.key')}."
    )
