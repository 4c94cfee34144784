"""``pgferry init``: a small plan that is valid, previews and applies as it is; and what editors need to help with it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from console.commands.operate import out
from console.commands.settings import Settings, state_folder
from console.errors import UsageError
from console.plan.load import load_plan
from console.plan.schema import RESERVED_IDS, json_schema, reference
from console.plan.source import NAME

SCHEMA = "plan.schema.json"
_NOT_ID = re.compile(r"[^A-Za-z0-9_.-]+")
_PLAN = """\
#:schema ./plan.schema.json
# Every key is explained by 'pgferry config --reference'; the line above lets editors complete and check this file.
format = 1
id = "{id}"
title = "{id}: what this plan changes, in one line"

[paths]
checks = "checks"
docs = "docs"

[[phase]]
id = "1"
title = "Expand"
risk = "low"
goal = "The new table stands beside what there is."
doc = "overview"

[[phase.task]]
id = "1.1"
title = "Create the first table"
kind = "sql"
minutes = 1
file = "001_first.sql"          # the way back is 001_first.down.sql
guards = ["first_table_stands"] # a check that must pass after it
"""
_FILES = {
    NAME: _PLAN,
    "001_first.sql": """\
-- What stands here is what is reviewed and what runs. Each statement is a transaction of its own unless BEGIN says more.
CREATE TABLE first_table (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    note text NOT NULL
);
""",
    "001_first.down.sql": "DROP TABLE first_table;\n",
    "checks/phase_1.sql": """\
-- check: first_table_stands
-- title: The first table stands
-- phase: 1
-- severity: error
-- expect: true
SELECT to_regclass('first_table') IS NOT NULL;
""",
    "docs/overview.md": """\
# {id}

Why this is done, what changes for applications, whom to ask. Reviewers read this page in the console.
""",
}


def init(directory: Path) -> int:
    """Write a plan into ``directory``, which may not hold one; nothing is ever overwritten. Raises UsageError."""
    plan_id = _plan_id(directory)
    files = {name: text.replace("{id}", plan_id) for name, text in _FILES.items()}
    files[SCHEMA] = schema_text()
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is no directory.", state="Nothing was written.")
    there = sorted(name for name in files if (directory / name).exists())
    if there:
        raise UsageError(
            f"{directory} has {', '.join(there)} already.",
            state="Nothing was written.",
            do="Name another directory, or move it away.",
        )
    for name, text in files.items():
        path = directory / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written: {error.strerror}.", state="The plan is not complete."
            ) from None
    load_plan(directory)
    out("\n".join(str(directory / name) for name in files))
    return 0


def _plan_id(directory: Path) -> str:
    """The directory's name as an id."""
    name = _NOT_ID.sub("-", directory.resolve().name).lstrip("_.-")[:60]
    return f"plan-{name}" if name in RESERVED_IDS else name or "plan"


def schema_text() -> str:
    """The JSON Schema of plan.toml as a file."""
    return json.dumps(json_schema(), indent=2) + "\n"


def config(settings: Settings, what: str) -> int:
    """Print the JSON Schema or the reference of plan.toml, or (``what`` empty) the settings in force."""
    if what == "schema":
        out(schema_text().rstrip())
    elif what == "reference":
        out(reference().rstrip())
    else:
        out(
            f"operator     {settings.operator}   (PGFERRY_OPERATOR, else the login name)\n"
            f"environment  {settings.environment}   (PGFERRY_ENV: PROD, STAGING, DEV or DEMO; else PROD)\n"
            f"logs         {state_folder()}"
        )
    return 0
