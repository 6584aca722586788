"""Check filters before they reach a store: their depth, their size and their values."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from m3rag.errors import InputError
from m3rag.limits import Limits, check_text, is_number, shown
from m3rag.stores.filter_tree import (
    BOUNDS,
    LISTS,
    OWN,
    OWN_FIELDS,
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
)
from m3rag.stores.instants import instant


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
        return _listed(part.parts), 1, 0
    if isinstance(part, Not):
        return [part.part], 1, 0
    if isinstance(part, In):
        values = len(_listed(part.values))
    elif isinstance(part, Mapping):
        for key, value in part.items():
            if isinstance(key, str) and key == "$not" and isinstance(value, list | tuple):
                below += value
            elif isinstance(key, str) and key == "$not":
                below.append(value)
            elif isinstance(key, str) and key in ("$and", "$or"):
                below += _listed(value)
            else:
                values += _size(value)
        return below, max(1, len(part)), values
    return below, 1, max(1, values)


def _size(value: object) -> int:
    """Return the number of values and bounds that a dict names for one field."""
    if isinstance(value, Mapping):
        return sum(len(v) if isinstance(v, LISTS) else 1 for v in value.values())
    return len(value) if isinstance(value, LISTS) else 1


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()


def check_tree(tree: Filter, limits: Limits) -> None:
    """Check the conditions of a tree whose shape has been checked.

    Raises:
        InputError: A part has another type than its annotation, or no dict describes it.
    """
    match tree:
        case Equals(field, value):
            check_value(check_field(field, limits), value, limits)
        case In(field, values):
            if not isinstance(values, tuple):
                raise InputError(f"`In` takes a tuple of values, got {shown(values)}.")
            check_field(field, limits)
            for value in values:
                check_value(field, value, limits)
        case Range(field):
            check_bounds(check_field(field, limits), tree.bounds, limits)
        case Exists(field):
            check_field(field, limits)
        case Pattern(field, kind, text):
            check_pattern(check_field(field, limits), kind, text, limits)
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
    if key.startswith(OWN) and key not in OWN_FIELDS:
        raise InputError(
            f"There is no filter operator {shown(key)}. Use one of $and, $or, $not around filters, "
            "or an operator inside a field: {'year': {'$gte': 2000}}."
        )
    if '"' in key or "\\" in key:  # the engine's paths cannot quote them
        raise InputError(
            f"A filter's field cannot contain a quote or a backslash, got {shown(key)}."
        )
    return key


def check_value(field: str, value: object, limits: Limits) -> None:
    """Check a value that a field is compared with.

    Raises:
        InputError: It is no string, finite number or boolean.
    """
    where = f"Filter on {shown(field)}"
    if isinstance(value, str):
        check_text(f"{where}: the value", value, limits.query_characters, "query_characters")
    elif not isinstance(value, int | float):
        none = " For passages without a value, use {'exists': False}." if value is None else ""
        raise InputError(
            f"{where}: values must be strings, numbers or booleans, got {shown(value)}, of type "
            f"{type(value).__name__}.{none}"
        )
    elif not -sys.float_info.max <= value <= sys.float_info.max:
        raise InputError(
            f"{where}: {shown(value)} is not a finite number of at most 1.8e308, so it fits no "
            "64-bit float."
        )


def check_bounds(field: str, bounds: Mapping[str, object], limits: Limits) -> None:
    """Check the bounds of a range.

    Raises:
        InputError: There is none, or one is neither a number nor a date, or both kinds occur.
    """
    where = f"Filter on {shown(field)}"
    if not bounds:
        raise InputError(
            f"{where}: a range takes one or more of the bounds {', '.join(BOUNDS)}, got none."
        )
    for bound in bounds.values():
        date = isinstance(bound, str) and instant(bound) is not None
        if not (date or is_number(bound)):
            raise InputError(
                f"{where}: bounds must be numbers, or dates such as '2026-03-01' or "
                f"'2026-03-01T10:30:00Z', got {shown(bound)}."
            )
        check_value(field, bound, limits)
    if len({isinstance(bound, str) for bound in bounds.values()}) > 1:
        raise InputError(
            f"{where}: bounds must be numbers or dates, not both, got {shown(dict(bounds))}."
        )


def check_pattern(field: str, kind: object, text: object, limits: Limits) -> None:
    """Check the text of an operator for strings.

    Raises:
        InputError: It is no string, too long, or has no word.
    """
    where = f"Filter on {shown(field)}"
    if kind not in PATTERNS:
        raise InputError(f"{where}: there is no pattern {shown(kind)}. Use {', '.join(PATTERNS)}.")
    if not isinstance(text, str):
        raise InputError(f"{where}: {kind} takes a string, got {shown(text)}.")
    check_text(f"{where}: the text of {kind}", text, limits.id_characters, "id_characters")
    if kind == "text" and not text.strip():
        raise InputError(f"{where}: text takes one or more words, got {shown(text)}.")
