"""A tiny plan on disk and the command as a user types it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PLAN_TOML = """\
format = 1
id = "tiny"
title = "A tiny plan"
[paths]
checks = "../checks"

[[phase]]
id = "1"
title = "Make"
[[phase.task]]
id = "A1"
title = "Make things"
kind = "sql"
minutes = 1
file = "002_things.sql"
[[phase.task]]
id = "A2"
title = "Fill things"
kind = "sql"
minutes = 1
depends = ["A1"]
file = "003_fill.sql"

[[phase]]
id = "2"
title = "Look"
[[phase.task]]
id = "B1"
title = "Look at things"
kind = "check"
minutes = 1
depends = ["A2"]
checks = ["filled"]
"""
CHECKS = """\
-- check: filled
-- title: Things are there
-- phase: 2
-- expect: value >= 3
SELECT count(*) FROM things;
"""
MAPPED = """
[[mapping]]
id = "things"
old = "absent"
new = "absent_v2"
old_key = ["i"]
new_key = ["i"]
[mapping.columns]
i = "o.i"
[mapping.back]
i = "n.i"

[[phase]]
id = "3"
title = "Carry"
[[phase.task]]
id = "C1"
title = "Carry writes"
kind = "sync"
minutes = 1
mappings = ["things"]
"""
FILES = {
    "plan.toml": PLAN_TOML,
    "002_things.sql": "CREATE TABLE things (i int PRIMARY KEY);\n",
    "002_things.down.sql": "DROP TABLE things;\n",
    "003_fill.sql": "INSERT INTO things VALUES (1), (2), (3);\n",
    "003_fill.down.sql": "DELETE FROM things;\n",
    "../checks/all.sql": CHECKS,
}


def tiny_plan(parent: Path, **files: str | None) -> Path:
    """The plan below ``parent``; ``files`` (``toml`` for plan.toml, ``_`` before a digit) replace or remove some."""
    root = parent / "plan"
    names = {
        "toml": "plan.toml",
        "fill": "003_fill.sql",
        "fill_down": "003_fill.down.sql",
        "checks": "../checks/all.sql",
    }
    contents: dict[str, str | None] = {**FILES, **{names[key]: text for key, text in files.items()}}
    for name, text in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            path.unlink(missing_ok=True)
        else:
            root.mkdir(exist_ok=True)
            path.write_text(text)
    return root


def start(*words: str, **environment: str) -> subprocess.Popen[str]:
    """Start ``pgferry`` with these words; nothing is waited for."""
    return subprocess.Popen(
        [sys.executable, "-m", "console", *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip


def ferry(*words: str, **environment: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of ``pgferry`` with these words."""
    process = start(*words, **environment)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def wait_until(true: Callable[[], object], seconds: float = 20.0) -> bool:
    """Whether ``true`` became so in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.05)
    return False
