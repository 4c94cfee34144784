"""Starts the runner in a session of its own, so that closing the terminal cannot harm a run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from console.commands.settings import state_folder
from console.engine.session import RECONNECT_SECONDS


def start_runner(
    conninfo: str,
    plan_dir: Path,
    run_id: int,
    operator: str,
    *,
    layout: str = "",
    takeover: bool = False,
    patience_s: float = RECONNECT_SECONDS,
) -> subprocess.Popen[str]:
    """Start a runner; its orders, which may hold a password, go through a pipe and never into its arguments."""
    folder = state_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with log_file(run_id).open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "console.engine.runner"],
            stdin=subprocess.PIPE, stdout=log, stderr=log, text=True, start_new_session=True,
        )  # fmt: skip
    assert process.stdin is not None
    orders = {
        "conninfo": conninfo, "plan": str(plan_dir.absolute()), "layout": layout, "run_id": run_id, "operator": operator,
        "takeover": takeover, "patience_s": patience_s,
    }  # fmt: skip
    process.stdin.write(json.dumps(orders) + "\n")
    process.stdin.close()
    return process


def log_file(run_id: int) -> Path:
    """What the runner said; normally empty, since everything worth saying is in the journal."""
    return state_folder() / f"run-{run_id}.log"
