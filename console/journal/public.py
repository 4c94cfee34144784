"""What may leave the journal: the same facts with the secrets of all their text masked."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any, TypeVar, cast

from console.text import without_secrets

T = TypeVar("T")


def public(value: T) -> T:
    """A copy of dataclasses, tuples, lists and dicts in which every text went through ``without_secrets``."""
    return cast(T, _public(value))


def _public(value: Any) -> Any:
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, tuple | list):
        return type(value)(_public(item) for item in value)
    if isinstance(value, dict):
        return {key: _public(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        changed = {field.name: _public(getattr(value, field.name)) for field in fields(value) if field.init}
        return replace(value, **changed)
    return value
