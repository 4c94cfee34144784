"""Makes the plan's tables of plan.toml into dataclasses; their shape has been checked before."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from console.plan.model import (
    Allow,
    BackfillSettings,
    Changes,
    Direction,
    Kind,
    Leads,
    Lookup,
    Mapping,
    Missing,
    Refusal,
    SourceFile,
    TableName,
    Task,
    Triggers,
    Writers,
)
from console.plan.source import Source

Path = tuple[str | int, ...]

_MAX_NAME = 63  # bytes of a PostgreSQL name
_PART = r'(?:"((?:[^"]|"")+)"|([^".\s]+))'
_TABLE = re.compile(rf"{_PART}(?:\.{_PART})?")
_BACKFILL = tuple(field.name for field in dataclasses.fields(BackfillSettings))


def table_name(source: Source, text: str, schema: str, path: Path) -> TableName:
    """The table that ``text`` names: ``table``, ``schema.table``, parts in double quotes where they need it.

    Names stand as in the catalogue: nothing is folded to lower case. Raises PlanError at ``path``.
    """
    found = _TABLE.fullmatch(text)
    if found is None:
        raise source.fault(f"{text!r} names no table.", *path, do='Write "table" or "schema.table".')
    quoted, bare, quoted_second, bare_second = found.groups()
    first = quoted.replace('""', '"') if quoted else bare
    second = quoted_second.replace('""', '"') if quoted_second else bare_second
    name = TableName(first, second) if second else TableName(schema, first)
    for part in (name.schema, name.name):
        check_name(source, part, path)
    return name


def check_name(source: Source, name: str, path: Path) -> None:
    """Raises PlanError at ``path`` when PostgreSQL would cut ``name`` short."""
    if len(name.encode("utf-8")) > _MAX_NAME:
        raise source.fault(f"The name {name} is longer than {_MAX_NAME} bytes.", *path, do="Write it as it stands.")


def build_mapping(source: Source, data: dict[str, Any], schema: str, path: Path) -> Mapping:
    """One [[mapping]] as a dataclass; ``schema`` is for table names without one. Raises PlanError."""
    lookups = tuple(
        Lookup(
            name=entry["name"],
            relation=table_name(source, entry["relation"], schema, (*path, "lookup", index, "relation")),
            match=tuple(entry["match"].items()),
            gives=entry["gives"],
            canonical=entry["canonical"],
            missing=Missing(entry.get("missing", Missing.REJECT)),
            create=entry.get("create", ""),
            changes=Changes(entry.get("changes", Changes.CARRY)),
        )
        for index, entry in enumerate(data.get("lookup", ()))
    )
    return Mapping(
        id=data["id"],
        old=table_name(source, data["old"], schema, (*path, "old")),
        new=table_name(source, data["new"], schema, (*path, "new")),
        old_key=tuple(data["old_key"]),
        new_key=tuple(data["new_key"]),
        columns=tuple(data["columns"].items()),
        back=tuple(data["back"].items()),
        lookups=lookups,
        refuse=tuple(Refusal(entry["when"], entry["reason"]) for entry in data.get("refuse", ())),
        writers=Writers(data.get("writers", Writers.ORDERED)),
        triggers=Triggers(data.get("triggers", Triggers.ROW)),
    )


def build_task(
    data: dict[str, Any], phase: str, defaults: dict[str, Any], file: SourceFile | None, down: SourceFile | None
) -> Task:
    """One [[phase.task]] as a dataclass, its files read before."""
    plain = Task(id=data["id"], title=data["title"], kind=Kind(data["kind"]), minutes=data["minutes"], phase=phase)
    settings = {name: data[name] for name in _BACKFILL if name in data}
    for field in dataclasses.fields(BackfillSettings):
        if field.name in settings and isinstance(field.default, float):
            settings[field.name] = float(settings[field.name])
    timeouts = {
        name: data.get(name, defaults.get(name, getattr(plain, name)))
        for name in ("lock_timeout_ms", "statement_timeout_ms", "build_lock_timeout_ms")
    }
    return dataclasses.replace(
        plain,
        depends=tuple(data.get("depends", ())),
        guards=tuple(data.get("guards", ())),
        irreversible=data.get("irreversible", ""),
        deliverables=tuple(data.get("deliverables", ())),
        file=file,
        down=down,
        mappings=tuple(data.get("mappings", ())),
        direction=Direction(data.get("direction", plain.direction)),
        backfill=BackfillSettings(**settings),
        checks=tuple(data.get("checks", ())),
        leads=Leads(data.get("leads", plain.leads)),
        leads_back=Leads(data.get("leads_back", plain.leads_back)),
        connections=data.get("connections", plain.connections),
        quiet_seconds=data.get("quiet_seconds", plain.quiet_seconds),
        export=data.get("export", plain.export),
        question=data.get("question", ""),
        allow=tuple(Allow(entry["hazard"], entry["reason"]) for entry in data.get("allow", ())),
        **timeouts,
    )
