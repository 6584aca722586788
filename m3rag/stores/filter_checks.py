"""Check filters before they reach a store: their depth, their size and their values."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from m3rag.errors import InputError
from m3rag.limits import Limits, check_text, shown
from m3rag.stores.filter_tree import BOUNDS, LISTS, And, Equals, Filter, In, Not, Or, Range


def check_shape(spec: object, limits: Limits) -> None:
    """Check the depth and the size of a dict or a tree, without recursion.

    Raises:
        InputError: It is nested too deep, or has too many conditions or values.
    """
    conditions = values = 0
    todo: list[tuple[object, int]] = [(spec, 0)]  # a filter, and the operators around it
    while todo:
        part, depth = todo.pop()
        if isinstance(part, Mapping) and len(part) > 1:  # an $and that is not written out
            depth += 1
            conditions += 1
        if depth > limits.filter_depth:
            raise InputError(
                f"The filter nests $and, $or and $not more than {limits.filter_depth} deep "
                "(Limits.filter_depth). Flatten it."
            )
        below, n_conditions, n_values = _shape(part)
        conditions += n_conditions
        values += n_values
        if conditions + len(todo) + len(below) > limits.filter_conditions:
            raise InputError(
                f"The filter has more than {limits.filter_conditions:,} conditions "
                "(Limits.filter_conditions). For values of one field, use one list: "
                '{"id": ["a", "b"]}.'
            )
        if values > limits.filter_values:
            raise InputError(
                f"The filter has more than {limits.filter_values:,} values "
                "(Limits.filter_values). Divide them between several calls."
            )
        todo += [(child, depth + 1) for child in below]


def _shape(part: object) -> tuple[Sequence[object], int, int]:
    """Return the filters inside the operators of a filter, and its conditions and values."""
    below: list[object] = []
    values = 0
    if isinstance(part, And | Or):
        below += _listed(part.parts)
    elif isinstance(part, Not):
        below.append(part.part)
    elif isinstance(part, In):
        values = len(_listed(part.values))
    elif isinstance(part, Mapping):
        for key, value in part.items():
            if isinstance(key, str) and key == "$not":
                below.append(value)
            elif isinstance(key, str) and key in ("$and", "$or"):
                below += _listed(value)
            else:
                values += len(value) if isinstance(value, (Mapping, *LISTS)) else 1
        return below, max(1, len(part)), values
    return below, 1, max(1, values)


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()


def check_tree(tree: Filter, limits: Limits) -> None:
    """Check the conditions of a tree whose shape has been checked.

    Raises:
        InputError: A part has another type than its annotation, or no dict describes it.
    """
    match tree:
        case Equals(field, value):
            _check_value(f"Filter on {shown(check_field(field, limits))}", value, limits)
        case In(field, values):
            if not isinstance(values, tuple):
                raise InputError(f"`In` takes a tuple of values, got {shown(values)}.")
            check_condition(check_field(field, limits), values, limits)
        case Range(field):
            bounds = {b: getattr(tree, b) for b in BOUNDS if getattr(tree, b) is not None}
            check_condition(check_field(field, limits), bounds, limits)
        case And(parts) | Or(parts):
            if not isinstance(parts, tuple) or not parts:
                raise InputError(
                    f"`{type(tree).__name__}` takes a tuple of one or more filters, got "
                    f"{shown(parts)}."
                )
            for part in parts:
                check_tree(part, limits)
        case Not(part):
            check_tree(part, limits)
        case other:  # a part that is no filter; the annotation says it cannot be
            raise InputError(f"A filter has {shown(other)} in place of a condition.")


def check_field(key: object, limits: Limits) -> str:
    """Return the name of a field, after checking that every store can look it up.

    Raises:
        InputError: It is no string, too long, an unknown operator, or has a quote or a backslash.
    """
    if not isinstance(key, str):
        raise InputError(f"A filter's field must be a string, got {shown(key)}.")
    check_text("A filter's field", key, limits.key_characters, "key_characters")
    if key.startswith("$"):
        raise InputError(f"There is no filter operator {shown(key)}. Use one of $and, $or, $not.")
    if '"' in key or "\\" in key:  # the engine's paths cannot quote them
        raise InputError(
            f"A filter's field cannot contain a quote or a backslash, got {shown(key)}."
        )
    return key


def check_condition(field: str, value: object, limits: Limits) -> None:
    """Check what a dict says of a field: a value, a list of values, or a range.

    Raises:
        InputError: A bound or a value is invalid.
    """
    where = f"Filter on {shown(field)}"
    if isinstance(value, Mapping):
        if not value or not all(isinstance(b, str) and b in BOUNDS for b in value):
            raise InputError(
                f"{where}: a range takes one or more of the bounds {', '.join(BOUNDS)}, got "
                f"{shown(value)}."
            )
        for bound in value.values():
            if isinstance(bound, bool | str) or not isinstance(bound, int | float):
                raise InputError(f"{where}: bounds must be numbers, got {shown(bound)}.")
            _check_value(where, bound, limits)
    elif isinstance(value, LISTS):
        for v in value:
            _check_value(where, v, limits)
    else:
        _check_value(where, value, limits)


def _check_value(where: str, value: object, limits: Limits) -> None:
    if isinstance(value, str):
        check_text(f"{where}: the value", value, limits.query_characters, "query_characters")
    elif not isinstance(value, int | float):
        raise InputError(
            f"{where}: values must be strings, numbers or booleans, got {shown(value)}, of type "
            f"{type(value).__name__}."
        )
    elif not -sys.float_info.max <= value <= sys.float_info.max:
        raise InputError(
            f"{where}: {shown(value)} is not a finite number of at most 1.8e308, so it fits no "
            "64-bit float."
        )
