"""What every command needs to know: which plan, which database, who asks, and how dangerous the place is."""

from __future__ import annotations

import getpass
import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

ENVIRONMENTS = ("PROD", "STAGING", "DEV", "DEMO")


@dataclass(frozen=True, slots=True)
class Settings:
    """A command's settings. An empty ``dsn`` leaves everything to libpq: PG* variables, service files, ~/.pgpass."""

    dsn: str = ""
    plan_dir: Path | None = None
    layout: str = ""  # how plan_dir is to be read; empty: a plan.toml, or found out
    operator: str = ""
    environment: str = "PROD"  # an unknown place counts as production


def operator_name() -> str:
    """Who asks: PGFERRY_OPERATOR, else the login name."""
    try:
        return os.environ.get("PGFERRY_OPERATOR") or getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


@dataclass(frozen=True, slots=True)
class Drawn:
    """How a console is to be drawn; None leaves it to what the terminal says."""

    ascii_only: bool | None = None
    theme: str | None = None
    mouse: bool = False


def environment_name() -> str:
    """PGFERRY_ENV where it is one of PROD, STAGING, DEV or DEMO; else PROD."""
    name = os.environ.get("PGFERRY_ENV", "").upper()
    return name if name in ENVIRONMENTS else "PROD"


def state_folder() -> Path:
    """Where the runner's logs and saved reports go."""
    return Path(platformdirs.user_state_dir("pgferry"))
