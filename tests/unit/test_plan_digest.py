"""The digest that approval names, and the JSON Schema that must agree with the loader."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from console.errors import PlanError
from console.plan.digest import plan_sha256
from console.plan.find import shipped_plan
from console.plan.load import load_plan
from console.plan.model import Kind, SourceFile
from console.plan.schema import TABLES, json_schema, keys_of, reference, task_keys
from tests.unit.plan_files import PLAN_TOML, write_plan

ONE = SourceFile("a.sql", "", "1" * 64)
TWO = SourceFile("b.sql", "", "2" * 64)
THREE = SourceFile("docs/c.md", "", "3" * 64)


def test_the_order_of_files_does_not_matter() -> None:
    assert len({plan_sha256(files) for files in permutations((ONE, TWO, THREE))}) == 1


@pytest.mark.parametrize(
    "files",
    [
        (ONE, TWO),
        (ONE, TWO, SourceFile("docs/c.md", "", "4" * 64)),
        (ONE, TWO, SourceFile("docs/d.md", "", "3" * 64)),
        (SourceFile("a.sql", "", "2" * 64), SourceFile("b.sql", "", "1" * 64), THREE),
        (ONE, SourceFile(f"b.sql {'2' * 64}\n9:docs/c.md", "", "3" * 64)),
    ],
    ids=["one less", "other content", "other name", "contents swapped", "a name that imitates two lines"],
)
def test_another_plan_has_another_digest(files: tuple[SourceFile, ...]) -> None:
    assert plan_sha256(files) != plan_sha256((ONE, TWO, THREE))


@pytest.mark.parametrize(
    "name", ["plan.toml", "001_baseline.sql", "002_new.sql", "002_new.down.sql", "docs/first.md", "../checks/speed.py"]
)
def test_one_more_byte_in_any_file_changes_the_digest(tmp_path: Path, name: str) -> None:
    root = write_plan(tmp_path)
    before = load_plan(root)
    path = root / name
    path.write_bytes(path.read_bytes() + b"\n")
    after = load_plan(root)
    assert after.sha256 != before.sha256
    assert re.fullmatch("[0-9a-f]{64}", after.sha256)


def test_a_plan_elsewhere_with_the_same_bytes_has_the_same_digest(tmp_path: Path) -> None:
    assert load_plan(write_plan(tmp_path / "x")).sha256 == load_plan(write_plan(tmp_path / "y")).sha256


def test_the_shipped_plan_loads_twice_with_one_digest() -> None:
    first, second = load_plan(shipped_plan()), load_plan(shipped_plan())
    assert first == second
    assert first.sha256 == plan_sha256(first.files)
    assert len(first.phases) == 5


SCHEMA: dict[str, Any] = json_schema()

# The part of JSON Schema (draft 7) that json_schema() uses; each word says whether a value keeps to it.
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "integer": (int,), "number": (int, float)
}  # fmt: skip
_WORDS: dict[str, Callable[[Any, Any], bool]] = {
    "type": lambda v, w: isinstance(v, _TYPES[w]) and (w == "boolean" or not isinstance(v, bool)),
    "const": lambda v, w: bool(v == w),
    "enum": lambda v, w: v in w,
    "pattern": lambda v, w: re.search(w, v) is not None,
    "minLength": lambda v, w: len(v) >= w,
    "minimum": lambda v, w: v >= w,
    "maximum": lambda v, w: v <= w,
    "minItems": lambda v, w: len(v) >= w,
    "maxItems": lambda v, w: len(v) <= w,
    "minProperties": lambda v, w: len(v) >= w,
    "maxProperties": lambda v, w: len(v) <= w,
    "uniqueItems": lambda v, w: len(set(v)) == len(v),
    "required": lambda v, w: set(w) <= set(v),
    "propertyNames": lambda v, w: all(keeps(name, w) for name in v),
    "not": lambda v, w: not keeps(v, w),
    "items": lambda v, w: all(keeps(item, w) for item in v),
    "properties": lambda v, w: all(keeps(v[name], part) for name, part in w.items() if name in v),
    "allOf": lambda v, w: all(keeps(v, part) for part in w),
    "anyOf": lambda v, w: any(keeps(v, part) for part in w),
    "$ref": lambda v, w: keeps(v, SCHEMA["definitions"][w.removeprefix("#/definitions/")]),
}
_SAYS_NOTHING = {"$schema", "title", "description", "definitions", "then"}


def keeps(value: Any, schema: dict[str, Any]) -> bool:
    """Whether ``value`` keeps to ``schema``. Raises KeyError for a word this test does not know."""
    if "type" in schema and not _WORDS["type"](value, schema["type"]):
        return False
    for word, wanted in schema.items():
        if word in _SAYS_NOTHING:
            continue
        if word == "if":
            if keeps(value, wanted) and not keeps(value, schema["then"]):
                return False
        elif word == "additionalProperties":
            others = [item for name, item in value.items() if name not in schema.get("properties", {})]
            if others and (wanted is False or not all(keeps(item, wanted) for item in others)):
                return False
        elif not _WORDS[word](value, wanted):
            return False
    return True


@pytest.mark.parametrize("text", [PLAN_TOML, (shipped_plan() / "plan.toml").read_text()], ids=["small", "shipped"])
def test_good_plans_keep_to_the_schema(text: str) -> None:
    assert keeps(tomllib.loads(text), SCHEMA)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("format = 1", "format = 2"),
        ("format = 1", 'format = "1"'),
        ('title = "A small plan"', ""),
        ('title = "A small plan"', 'title = ""'),
        ('title = "A small plan"', 'title = "A small plan"\ntittle = "x"'),
        ('id = "small"', 'id = "has space"'),
        ('id = "T3"', 'id = "start"'),
        ('kind = "backfill"', 'kind = "copy"'),
        ("minutes = 60", "minutes = -1"),
        ("minutes = 60", "minutes = 1.5"),
        ("minutes = 60", "minutes = true"),
        ("batch_rows = 100", "batch_rows = 0"),
        ("batch_rows = 100", "workers = 65"),
        ("batch_rows = 100", "duty_percent = 101"),
        ("batch_rows = 100", 'question = "of another kind"'),
        ('depends = ["T2"]', 'depends = "T2"'),
        ('depends = ["T2"]', 'depends = ["T2", "T2"]'),
        ('question = "Told?"', ""),
        ('irreversible = "the rows are gone"', ""),
        ('gives = "exchange_id"', ""),
        ('old_key = ["at", "exchange"]', "old_key = []"),
        ('checks = ["seeded", "speed"]', ""),
        ("max_replica_lag_s = 2", "max_replica_lag_s = -0.5"),
    ],
)
def test_schema_and_loader_refuse_the_same_faults(tmp_path: Path, good: str, bad: str) -> None:
    assert PLAN_TOML.count(good) == 1, "the fault must be made in one place"
    broken = PLAN_TOML.replace(good, bad)
    assert not keeps(tomllib.loads(broken), SCHEMA)
    with pytest.raises(PlanError, match=r"plan\.toml(:\d+)?: "):
        load_plan(write_plan(tmp_path, toml=broken))


def test_the_schema_has_exactly_the_loaders_keys() -> None:
    assert set(SCHEMA["properties"]) == set(keys_of("plan"))
    assert set(SCHEMA["definitions"]) == set(TABLES) - {"plan"}
    for table, schema in SCHEMA["definitions"].items():
        assert set(schema["properties"]) == set(keys_of(table))
        assert schema["additionalProperties"] is False


@pytest.mark.parametrize("kind", list(Kind))
def test_each_kind_of_task_has_its_own_keys_and_no_others(kind: Kind) -> None:
    rule = next(r for r in SCHEMA["definitions"]["task"]["allOf"] if r["if"]["properties"]["kind"]["const"] == kind)
    assert set(rule["then"]["propertyNames"]["enum"]) == set(task_keys(kind))
    assert set(rule["then"]["required"]) <= set(task_keys(kind))


def test_the_reference_names_every_key() -> None:
    text = reference()
    for table, keys in TABLES.items():
        section = text.split(f"## {table}\n")[1].split("\n## ")[0]
        assert [line.split("`")[1] for line in section.splitlines() if line.startswith("- ")] == [k.name for k in keys]
