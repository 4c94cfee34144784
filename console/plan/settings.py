"""The live settings of a backfill: what each may be, and its value in words."""

from __future__ import annotations

from dataclasses import fields

from console.plan.model import BackfillSettings, Kind
from console.plan.schema import TABLES, Key

Value = bool | int | float | str

KEYS: dict[str, Key] = {key.name: key for key in TABLES["task"] if key.kinds == (Kind.BACKFILL,)}
_DEFAULTS: dict[str, Value] = {field.name: field.default for field in fields(BackfillSettings)}  # type: ignore[misc]


def checked(name: str, value: object) -> Value:
    """The value as the setting takes it; text is read as the setting's kind. Raises ValueError with one sentence."""
    if name not in KEYS:
        raise ValueError(f"No such setting: {name}.")
    key, default = KEYS[name], _DEFAULTS[name]
    if isinstance(default, bool):
        return _flag(name, value)
    if isinstance(default, str):
        if not isinstance(value, str):
            raise ValueError(f"{name} must be text, not {value!r}.")
        return value
    number = _number(name, value)
    if isinstance(default, int) and number != int(number):
        raise ValueError(f"{name} must be a whole number, not {value!r}.")
    if key.least is not None and number < key.least:
        raise ValueError(f"{name} must be at least {key.least}, not {number:g}.")
    if key.most is not None and number > key.most:
        raise ValueError(f"{name} must be at most {key.most}, not {number:g}.")
    return int(number) if isinstance(default, int) else number


def _flag(name: str, value: object) -> bool:
    words = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}
    found = value if isinstance(value, bool) else words.get(str(value).lower())
    if found is None:
        raise ValueError(f"{name} must be true or false, not {value!r}.")
    return found


def _number(name: str, value: object) -> float:
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except ValueError:
        number = None
    if number is None or number != number or number in (float("inf"), float("-inf")):
        raise ValueError(f"{name} must be a number, not {value!r}.")
    return number


def words(name: str, value: Value) -> str:
    """A value as the screen and the report show it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str):
        return value or "none"
    if value == 0 and name.startswith("max_") and name != "max_reject_percent":
        return "none"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
