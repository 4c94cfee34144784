"""Checks plan.toml against the table of keys: unknown and missing keys, types, limits, settings of another kind."""

from __future__ import annotations

import re
from typing import Any

from console.plan.model import Kind
from console.plan.schema import FORMAT, ID_PATTERN, MAX_ID, REQUIRED_BY_KIND, RESERVED_IDS, TABLES, Key, Type, keys_of
from console.plan.source import Source, suggestion

Path = tuple[str | int, ...]

_ID = re.compile(ID_PATTERN)
_WORDS = {
    bool: "true or false",
    str: "a string",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a table",
}


def check_shape(source: Source) -> None:
    """Raises PlanError at the first key of ``source`` that is unknown, missing, of a wrong type or out of limits."""
    _check_format(source)
    _check_table(source, source.data, "plan", ())


def _check_format(source: Source) -> None:
    value = source.data.get("format")
    if value is not None and (isinstance(value, bool) or value != FORMAT):
        raise source.fault(
            f"The plan has format {value!r}, this pgferry reads format {FORMAT}.",
            "format",
            do=f"Set format = {FORMAT}, or use the pgferry the plan was written for.",
        )


def _named(table: str, data: dict[str, Any]) -> str:
    """How messages call a table: by its id where it has one."""
    name = data.get("id", data.get("name"))
    if table == "plan":
        return "the plan"
    return f"{table} {name}" if isinstance(name, str) and name else f"[{table}]"


def _check_table(source: Source, data: dict[str, Any], table: str, path: Path) -> None:
    owner = _named(table, data)
    known = {key.name: key for key in TABLES[table]}
    for name in data:
        if name not in known:
            raise source.fault(f"Unknown key {name} in {owner}.", *path, name, do=suggestion(name, keys_of(table)))
    for key in TABLES[table]:
        if key.name in data:
            _check_value(source, data[key.name], key, (*path, key.name))
        elif key.required:
            raise source.fault(f"The key {key.name} is missing in {owner}.", *path, do=f"Add it: {key.help}")
    if table == "task":
        _check_kind(source, data, path)


def _check_value(source: Source, value: Any, key: Key, path: Path) -> None:
    if not _fits(value, key.type):
        raise source.fault(f"{key.name} must be {key.type.value}, it is {_describe(value)}.", *path, do=key.help)
    if key.of and key.type is Type.TABLE:
        _check_table(source, value, key.of, path)
    elif key.of:
        for index, element in enumerate(value):
            _check_table(source, element, key.of, (*path, index))
    elif key.type is Type.ID:
        _check_id(source, value, path)
    elif key.type in (Type.TEXTS, Type.MAP):
        _check_collection(source, value, key, path)
    elif key.type in (Type.WHOLE, Type.NUMBER):
        _check_limits(source, value, key, path)
    elif key.type is Type.TEXT:
        _check_text(source, value, key, path)


def _fits(value: Any, wanted: Type) -> bool:
    if wanted in (Type.TEXT, Type.ID):
        return isinstance(value, str)
    if wanted is Type.FLAG:
        return isinstance(value, bool)
    if wanted in (Type.WHOLE, Type.NUMBER):
        return not isinstance(value, bool) and isinstance(value, int if wanted is Type.WHOLE else int | float)
    if wanted is Type.TEXTS:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if wanted is Type.MAP:
        return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
    if wanted is Type.TABLE:
        return isinstance(value, dict)
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _describe(value: Any) -> str:
    if isinstance(value, list):
        if not value:
            return "an empty list"
        inner = sorted({_WORDS.get(type(item), "a date or time") for item in value})
        return f"a list with {' and '.join(inner)} in it"
    if isinstance(value, dict):
        inner = sorted({_WORDS.get(type(item), "a date or time") for item in value.values()})
        return f"a table with {' and '.join(inner)} in it" if inner else "an empty table"
    return _WORDS.get(type(value), "a date or time")


def _check_id(source: Source, value: str, path: Path) -> None:
    if not _ID.fullmatch(value):
        raise source.fault(
            f"The id {value!r} has characters or a length an id cannot have.",
            *path,
            do=f"Use letters, digits, '_', '.' and '-', a letter or digit first, at most {MAX_ID}.",
        )
    if value in RESERVED_IDS:
        raise source.fault(f"The id {value} is reserved: it names a place of a run.", *path, do="Choose another id.")


def _check_collection(source: Source, value: list[str] | dict[str, str], key: Key, path: Path) -> None:
    if len(value) < (key.least or 0):
        raise source.fault(f"{key.name} is empty.", *path, do=key.help)
    items = value.items() if isinstance(value, dict) else enumerate(value)
    seen: set[str] = set()
    for place, text in items:
        if not text.strip():
            raise source.fault(f"{key.name} has an empty string in it.", *path, place, do=key.help)
        if isinstance(value, list) and text in seen:
            raise source.fault(f"{key.name} names {text} twice.", *path, place, do="Remove one of them.")
        seen.add(text)


def _check_limits(source: Source, value: float, key: Key, path: Path) -> None:
    too_low = key.least is not None and not value >= key.least  # written so that nan is refused as well
    too_high = key.most is not None and not value <= key.most
    if too_low or too_high:
        limits = f"at least {key.least}" if key.most is None else f"from {key.least} to {key.most}"
        raise source.fault(f"{key.name} is {value}, it must be {limits}.", *path, do=key.help)


def _check_text(source: Source, value: str, key: Key, path: Path) -> None:
    if not value.strip():
        raise source.fault(f"{key.name} is empty.", *path, do=key.help)
    if key.choices and value not in key.choices:
        raise source.fault(f"{key.name} cannot be {value!r}.", *path, do=suggestion(value, key.choices))


def _check_kind(source: Source, task: dict[str, Any], path: Path) -> None:
    kind, name = Kind(task["kind"]), task["id"]
    for key in TABLES["task"]:
        if key.name in task and key.kinds and kind not in key.kinds:
            raise source.fault(
                f"Task {name} is of kind {kind}, which has no {key.name}.",
                *path,
                key.name,
                do=f"{key.name} belongs to {', '.join(key.kinds)}; remove it or change the kind.",
            )
    for needed in REQUIRED_BY_KIND[kind]:
        if needed not in task:
            raise source.fault(f"Task {name} is of kind {kind} and needs {needed}.", *path, do=f"Add {needed}.")
    if kind is Kind.CHECK and "checks" not in task and "mappings" not in task:
        raise source.fault(f"Task {name} checks nothing.", *path, do="Add checks or mappings (or both).")
    if kind is Kind.BACKFILL and len(task["mappings"]) != 1:
        raise source.fault(
            f"Task {name} names {len(task['mappings'])} mappings; a backfill copies exactly one.",
            *path,
            "mappings",
            do="Write one backfill for each mapping.",
        )
    if kind in (Kind.CHECK, Kind.DRAIN) and "irreversible" in task:
        raise source.fault(
            f"Task {name} is of kind {kind} and changes nothing, so nothing of it is irreversible.",
            *path,
            "irreversible",
            do="Remove irreversible.",
        )
    if "irreversible" in task and "leads_back" in task:
        raise source.fault(
            f"Task {name} has both irreversible and leads_back.", *path, "irreversible", do="Keep one of them."
        )
