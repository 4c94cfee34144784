"""Runs a plan's generator on the server, step by step, in one transaction."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import psycopg

from console.errors import FerryError
from console.plan.model import Demo
from console.text import plain

Progress = Callable[[str], None]
_STEP = re.compile(r"^-- step: *(.+)$", re.MULTILINE)


def steps(text: str) -> list[tuple[str, str]]:
    """A generator's steps as (title, SQL): each begins with a line ``-- step: title``.

    What stands before the first step is comment. A file without steps is one step.
    """
    parts = _STEP.split(text)
    if len(parts) == 1:
        return [("rows", text)]
    return [(title.strip(), body) for title, body in zip(parts[1::2], parts[2::2], strict=True)]


def first_line(error: psycopg.Error) -> str:
    """What the server said, without detail and position."""
    return plain(error.diag.message_primary or str(error))


def generate(conn: psycopg.Connection[Any], demo: Demo, rows: int, progress: Progress) -> None:
    """Fill the baseline's tables with ``rows`` rows of its main table; ``progress`` is told each step's title.

    The generator reads the number from the setting ``pgferry.demo_rows``. Raises FerryError when a step fails; then
    no row was written.
    """
    with conn.transaction():
        conn.execute("SELECT set_config('pgferry.demo_rows', %s, true)", (str(rows),))
        for title, body in steps(demo.generate.text):
            progress(title)
            try:
                # The plan's own text, several statements at once: not data, and without parameters.
                conn.execute(body)
            except psycopg.Error as error:
                raise FerryError(
                    f"The generator {demo.generate.path} failed in its step {title}: {first_line(error)}.",
                    state="No row was written.",
                    do="Mend the file, or run the plan without generated rows.",
                ) from error
