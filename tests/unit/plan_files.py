"""A small valid plan on disk, to be broken in one place."""

from __future__ import annotations

from pathlib import Path

PLAN_TOML = '''\
format = 1
id = "small"
title = "A small plan"
[paths]
checks = "../checks"
docs = "docs"
baseline = "001_baseline.sql"

[[mapping]]
id = "ticks"
old = "ticks"
new = "market.ticks_v2"
old_key = ["at", "exchange"]
new_key = ["at", "exchange_id"]
refuse = [{ when = "o.price < 0", reason = "negative price" }]
[mapping.columns]
at = 'o."at"'
exchange_id = "ex.exchange_id"
price = "o.price"
[mapping.back]
at = 'n."at"'
exchange = "ex.spelling"
price = "n.price"
[[mapping.lookup]]
name = "ex"
relation = "spellings"
match = { spelling = "exchange" }
gives = "exchange_id"
canonical = "is_canonical"

[[phase]]
id = "1"
title = "First"
doc = "first"
# [[phase.task]] in a comment counts for nothing
[[phase.task]]
id = "T1"
title = """
[[phase.task]]
id = "not a task"
"""
kind = "sql"
minutes = 5
file = "002_new.sql"
guards = ["seeded"]

[[phase.task]]
id = "T2"
title = "Writes go over"
kind = "sync"
minutes = 1
depends = [
    "T1",  # the table
]
mappings = ["ticks"]

[[phase]]
id = "2"
title = "Second"
[[phase.task]]
id = "T3"
title = "Copy"
kind = "backfill"
minutes = 60
depends = ["T2"]
mappings = ["ticks"]
batch_rows = 100
max_replica_lag_s = 2

[[phase.task]]
id = "T4"
title = "Compare"
kind = "check"
minutes = 5
depends = ["T3"]
checks = ["seeded", "speed"]

[[phase.task]]
id = "T5"
title = "Purge"
kind = "purge"
minutes = 1
depends = ["T4"]
mappings = ["ticks"]
irreversible = "the rows are gone"

[[phase.task]]
id = "T6"
title = "Tell everyone"
kind = "gate"
minutes = 1
depends = ["T4"]
question = "Told?"
'''
CHECKS_SQL = """\
-- Checks of the first phase.

-- check: seeded
-- title: There are exchanges
-- phase: 1
-- expect: value >= 1

-- one row each
SELECT count(*) -- a ; in a comment
FROM exchanges WHERE name <> ';';
-- check: quiet
-- title: Nobody waits
-- severity: warning
-- expect: zero rows
SELECT 1 WHERE false
"""
CHECK_PY = '''\
#!/usr/bin/env python
"""
check: speed
title: It is fast
phase: 2

Measures: both shapes.
"""
'''


def write_plan(parent: Path, *, toml: str = PLAN_TOML, **files: str | None) -> Path:
    """The small plan below ``parent``; ``files`` (keys with ``__`` for ``/``) replace or, with None, remove files."""
    contents: dict[str, str | None] = {
        "plan.toml": toml,
        "001_baseline.sql": "CREATE TABLE ticks ();\n",
        "002_new.sql": "CREATE TABLE exchanges ();\n",
        "002_new.down.sql": "DROP TABLE exchanges;\n",
        "docs/first.md": "Intro\n\n# The first phase #\n\nText.\n",
        "lib/helper.py": "X = 1\n",
        "../checks/phase_1.sql": CHECKS_SQL,
        "../checks/speed.py": CHECK_PY,
        "../checks/helper.py": '"""Helps."""\n',
    }
    contents.update({name.replace("__", "/"): text for name, text in files.items()})
    root = parent / "plan"
    root.mkdir(parents=True, exist_ok=True)
    for name, text in contents.items():
        if text is not None:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return root


def line_of(text: str, wanted: str, nth: int = 1) -> int:
    """The 1-based line of the nth line that begins with ``wanted``."""
    found = [number for number, line in enumerate(text.splitlines(), 1) if line.strip().startswith(wanted)]
    return found[nth - 1]
