"""A database's schema as ``pg_dump --schema-only`` writes it, and the objects in which two of them differ."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from console.errors import FerryError
from console.plan.rehearsed import Difference
from console.text import plain

_VARYING = re.compile(r"^(?:\\(?:un)?restrict .*|-- Dumped (?:from|by) .*)\n", re.MULTILINE)
_HEAD = re.compile(r"^--\n-- Name: (.*); Type: (.*); Schema: (.*); Owner: ?(.*)\n--\n", re.MULTILINE)
_SHOWN = 2000  # characters of a definition in a difference
_MOST = 50


def dump(pg_dump: Path, conninfo: str, environment: Mapping[str, str]) -> str:
    """The schema without the journal, without versions and random keys: equal texts are equal schemas.

    ``conninfo`` must hold no secret. Raises FerryError with pg_dump's own words.
    """
    command = [str(pg_dump), "--schema-only", "--exclude-schema=pgferry", "-d", conninfo]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=dict(environment), check=False)
    if done.returncode:
        raise FerryError(f"pg_dump failed: {plain(done.stderr.strip().splitlines()[-1] if done.stderr else '')}.")
    return normalised(done.stdout)


def normalised(text: str) -> str:
    """A dump without what changes from one to the next of the same schema, and without psql's own commands."""
    return _VARYING.sub("", text)


def _entries(text: str) -> dict[str, str]:
    """The definitions in a dump by the object's kind and name, in pg_dump's order."""
    heads = list(_HEAD.finditer(text))
    found: dict[str, str] = {"settings": text[: heads[0].start()] if heads else text}
    for head, end in zip(heads, [*(h.start() for h in heads[1:]), len(text)], strict=True):
        name, kind, schema, owner = head.groups()
        place = "" if schema in ("-", "public") or name.startswith(f"{schema}.") else f"{schema}."
        label = f"{kind.lower()} {place}{name}"
        body = text[head.end() : end].split("\n\n\n--\n-- PostgreSQL database dump complete")[0].strip()
        found[label] = f"{found[label]}\n{body}" if label in found else body + (f"\n-- owner {owner}" if owner else "")
    return found


def differences(before: str, after: str) -> tuple[Difference, ...]:
    """The objects in which two dumps differ, with both definitions; none only where the dumps are equal to the byte."""
    if before == after:
        return ()
    old, new = _entries(before), _entries(after)
    names = [*old, *(name for name in new if name not in old)]
    found = [
        Difference(name, _short(old.get(name, "")), _short(new.get(name, "")))
        for name in names
        if old.get(name) != new.get(name)
    ]
    if not found:
        moved = [name for name, other in zip(old, new, strict=False) if name != other]
        found = [Difference("order of objects", " | ".join(moved[:5]), " | ".join(list(new)[:5]))]
    return tuple(found[:_MOST])


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ... ({len(text):,} characters)"
