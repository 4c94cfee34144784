"""Every key of plan.toml in one table: the loader, the JSON Schema for editors and the reference all read it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from console.plan.model import Changes, Direction, Kind, Leads, Missing, Triggers, Writers

FORMAT = 1
MAX_ID = 64  # characters
ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
RESERVED_IDS = ("start", "end")  # they name places of a run on the command line


class Type(StrEnum):
    """What a value may be, in the words of an error message."""

    TEXT = "a string"
    ID = "an id"
    WHOLE = "a whole number"
    NUMBER = "a number"
    FLAG = "true or false"
    TEXTS = "a list of strings"
    MAP = "a table of strings"
    TABLE = "a table"
    TABLES = "a list of tables"


@dataclass(frozen=True, slots=True)
class Key:
    """One key: its type and limits. ``kinds``: kinds of task that have it (empty: all); ``of``: its table's name."""

    name: str
    type: Type
    help: str
    required: bool = False
    kinds: tuple[Kind, ...] = ()
    choices: tuple[str, ...] = ()
    of: str = ""
    least: int | None = None
    most: int | None = None


def _choices(enum: type[StrEnum]) -> tuple[str, ...]:
    return tuple(member.value for member in enum)


_MAPPED = (Kind.SYNC, Kind.BACKFILL, Kind.CHECK, Kind.SWITCH, Kind.DRAIN, Kind.RETIRE, Kind.PURGE)
_COPY = (Kind.BACKFILL,)

_PLAN = (
    Key("format", Type.WHOLE, "Version of this format; 1.", required=True),
    Key("id", Type.ID, "Name of the plan; a run in the database belongs to it.", required=True),
    Key("title", Type.TEXT, "The plan in one line.", required=True),
    Key(
        "approvals",
        Type.WHOLE,
        "People who must approve exactly these files, the operator not counted; default 0.",
        least=0,
        most=20,
    ),
    Key("server", Type.TABLE, "Major versions of PostgreSQL the plan is for.", of="server"),
    Key("defaults", Type.TABLE, "What holds where a task says nothing else.", of="defaults"),
    Key("paths", Type.TABLE, "Where the plan's other files are, relative to the plan directory.", of="paths"),
    Key("demo", Type.TABLE, "How to try the plan.", of="demo"),
    Key("mapping", Type.TABLES, "Old and new table, declared once.", of="mapping"),
    Key("phase", Type.TABLES, "Groups of tasks, in the order they run.", required=True, of="phase"),
)
_SERVER = (
    Key("min", Type.WHOLE, "Oldest major version; default 13.", least=13),
    Key("max", Type.WHOLE, "Newest major version; default 18.", least=13),
)
_LOCK_TIMEOUT = "Milliseconds a statement may wait for a lock before it gives up and tries again; default 200."
_STATEMENT_TIMEOUT = "Milliseconds a statement may run; 0, the default, is no limit."
_BUILD_TIMEOUT = "Milliseconds a concurrent index build may wait for other transactions; default 1800000 (30 min)."
_DEFAULTS = (
    Key("schema", Type.TEXT, "Schema of table names without one; default public."),
    Key("archive_schema", Type.TEXT, "Where retired tables go; default pgferry_archive."),
    Key("lock_timeout_ms", Type.WHOLE, _LOCK_TIMEOUT, least=1),
    Key("statement_timeout_ms", Type.WHOLE, _STATEMENT_TIMEOUT, least=0),
    Key("build_lock_timeout_ms", Type.WHOLE, _BUILD_TIMEOUT, least=1),
)
_PATHS = (
    Key("checks", Type.TEXT, "Directory of *.sql and *.py checks; may stand beside the plan directory."),
    Key("docs", Type.TEXT, "Directory of *.md pages readable in the console."),
    Key("baseline", Type.TEXT, "SQL that makes the old shape in an empty database."),
)
_DEMO = (
    Key("generate", Type.TEXT, "SQL that generates rows.", required=True),
    Key("traffic", Type.TEXT, "Python module whose workload makes the traffic.", required=True),
)
_MAPPING = (
    Key("id", Type.ID, "Name by which tasks refer to it.", required=True),
    Key("old", Type.TEXT, 'Old table: "table" or "schema.table".', required=True),
    Key("new", Type.TEXT, 'New table: "table" or "schema.table".', required=True),
    Key("old_key", Type.TEXTS, "Unique, not null key of the old table.", required=True, least=1),
    Key("new_key", Type.TEXTS, "Unique, not null key of the new table.", required=True, least=1),
    Key("columns", Type.MAP, "New column = SQL expression over the old row o and lookups.", required=True, least=1),
    Key("back", Type.MAP, "Old column = SQL expression over the new row n and lookups.", required=True, least=1),
    Key(
        "writers",
        Type.TEXT,
        "What keeps writers of both tables from deadlocking on one key while both directions are carried: ordered, the"
        " default, lets the two sides take turns; free does nothing.",
        choices=_choices(Writers),
    ),
    Key(
        "triggers",
        Type.TEXT,
        "row, the default, for writers of single rows and for partitioned tables; statement for bulk loads.",
        choices=_choices(Triggers),
    ),
    Key("lookup", Type.TABLES, "How values of an old row resolve to one of the new.", of="lookup"),
    Key("refuse", Type.TABLES, "Conditions under which the new shape refuses a row.", of="refuse"),
)
_LOOKUP = (
    Key("name", Type.TEXT, "Name by which expressions refer to it.", required=True),
    Key("relation", Type.TEXT, "Table or view with one row for each accepted spelling.", required=True),
    Key("match", Type.MAP, "Column of the relation = old column it equals.", required=True, least=1),
    Key("gives", Type.TEXT, "Column of the relation with the resolved value.", required=True),
    Key("canonical", Type.TEXT, "Boolean column, true for the spelling the way back writes.", required=True),
    Key(
        "missing",
        Type.TEXT,
        "What becomes of a row whose value nothing matches: reject, the default, or create. Several are always rejected.",
        choices=_choices(Missing),
    ),
    Key(
        "create",
        Type.TEXT,
        "SQL expression over the old row o that calls a function which inserts the missing row; only with missing = create.",
    ),
    Key(
        "changes",
        Type.TEXT,
        "What becomes of its changes while the sync is on: carry, the default, carries the rows they concern again;"
        " forbid refuses changes and removals; uncovered leaves them to the next comparison.",
        choices=_choices(Changes),
    ),
)
_REFUSE = (
    Key("when", Type.TEXT, "SQL condition over o and lookups.", required=True),
    Key("reason", Type.TEXT, "Why, as it is shown with the rejected row.", required=True),
)
_PHASE = (
    Key("id", Type.ID, "Name of the phase; no task may have the same.", required=True),
    Key("title", Type.TEXT, "The phase in a few words.", required=True),
    Key("schedule", Type.TEXT, "When it is planned."),
    Key("risk", Type.TEXT, "How risky it is."),
    Key("goal", Type.TEXT, "What is true when it is done, in one sentence."),
    Key("doc", Type.TEXT, "Page in the docs directory, without .md."),
    Key("task", Type.TABLES, "The tasks, in the order they run.", required=True, of="task"),
)
_ALLOW = (
    Key("hazard", Type.TEXT, "Code of the hazard.", required=True),
    Key("reason", Type.TEXT, "Why it is accepted here.", required=True),
)
_TASK = (
    Key("id", Type.ID, "Name of the task.", required=True),
    Key("title", Type.TEXT, "The task in a few words.", required=True),
    Key("kind", Type.TEXT, "What the task does.", required=True, choices=_choices(Kind)),
    Key("minutes", Type.WHOLE, "Estimate in minutes.", required=True, least=0),
    Key("depends", Type.TEXTS, "Ids of earlier tasks that must be completed."),
    Key("guards", Type.TEXTS, "Ids of checks that must pass after it."),
    Key("deliverables", Type.TEXTS, "What stands when it is done."),
    Key("irreversible", Type.TEXT, "Why there is no way back; only where there is none."),
    Key("lock_timeout_ms", Type.WHOLE, _LOCK_TIMEOUT, least=1),
    Key("statement_timeout_ms", Type.WHOLE, _STATEMENT_TIMEOUT, least=0),
    Key("build_lock_timeout_ms", Type.WHOLE, _BUILD_TIMEOUT, least=1),
    Key("allow", Type.TABLES, "Hazards accepted for this task.", of="allow"),
    Key("file", Type.TEXT, "SQL file; NAME.down.sql beside it is the way back.", kinds=(Kind.SQL,)),
    Key("mappings", Type.TEXTS, "Ids of the mappings it works on.", kinds=_MAPPED, least=1),
    Key("direction", Type.TEXT, "Which way writes go.", kinds=(Kind.SYNC,), choices=_choices(Direction)),
    Key("batch_rows", Type.WHOLE, "Rows of the first batch; default 20000.", kinds=_COPY, least=1),
    Key("target_ms", Type.WHOLE, "Milliseconds a batch should take; default 100.", kinds=_COPY, least=1),
    Key(
        "throttled_ms",
        Type.WHOLE,
        "The same while it is slowed, if longer; default 0: target_ms.",
        kinds=_COPY,
        least=0,
    ),
    Key("workers", Type.WHOLE, "Batches at a time; default 1.", kinds=_COPY, least=1, most=64),
    Key("duty_percent", Type.WHOLE, "Share of the time spent copying; default 100.", kinds=_COPY, least=1, most=100),
    Key("max_rows_per_second", Type.WHOLE, "Upper limit; 0, the default, is none.", kinds=_COPY, least=0),
    Key("max_rejects", Type.WHOLE, "Rejected rows that stop it; 0, the default, is no limit.", kinds=_COPY, least=0),
    Key("max_reject_percent", Type.NUMBER, "Rejected share that stops it; default 5.", kinds=_COPY, least=0, most=100),
    Key("max_replica_lag_s", Type.NUMBER, "Replica lag in seconds that slows it; default 1.", kinds=_COPY, least=0),
    Key("max_replica_lag_mb", Type.NUMBER, "Replica lag in MB that slows it; default 256.", kinds=_COPY, least=0),
    Key("max_slot_mb", Type.NUMBER, "WAL a slot may keep, in MB; default 4096.", kinds=_COPY, least=0),
    Key("max_wal_mb_per_s", Type.NUMBER, "WAL of all sessions; 0, the default, is no limit.", kinds=_COPY, least=0),
    Key("max_archive_backlog", Type.WHOLE, "WAL files waiting for the archiver; default 42.", kinds=_COPY, least=0),
    Key("max_lock_waiters", Type.WHOLE, "Sessions waiting for locks; default 3.", kinds=_COPY, least=0),
    Key("max_transaction_s", Type.NUMBER, "Age of the oldest transaction; default 600.", kinds=_COPY, least=0),
    Key("max_active_sessions", Type.WHOLE, "Others at work; 0, the default, is no limit.", kinds=_COPY, least=0),
    Key("hold_for_vacuum", Type.FLAG, "Wait while one of its tables is vacuumed; default false.", kinds=_COPY),
    Key("min_free_disk_percent", Type.NUMBER, "Free disk space; default 5.", kinds=_COPY, least=0, most=100),
    Key("probe_sql", Type.TEXT, "Query whose latency tells how the server feels.", kinds=_COPY),
    Key("probe_limit_ms", Type.NUMBER, "Latency of probe_sql that slows it.", kinds=_COPY, least=0),
    Key("synchronous_commit", Type.FLAG, "Wait for the disk after each batch; default false.", kinds=_COPY),
    Key("content_hash", Type.FLAG, "Hash what each batch wrote; default true.", kinds=_COPY),
    Key("checks", Type.TEXTS, "Ids of the checks it runs.", kinds=(Kind.CHECK,), least=1),
    Key("connections", Type.WHOLE, "Connections that compare rows; default 2.", kinds=(Kind.CHECK,), least=1, most=16),
    Key("leads", Type.TEXT, "Shape that leads after it.", kinds=(Kind.SWITCH,), choices=_choices(Leads)),
    Key("leads_back", Type.TEXT, "Shape its way back sets.", kinds=(Kind.SWITCH,), choices=_choices(Leads)),
    Key("quiet_seconds", Type.WHOLE, "Seconds without users of the old table.", kinds=(Kind.DRAIN,), least=0),
    Key("export", Type.FLAG, "Write the rows to files first; default true.", kinds=(Kind.PURGE,)),
    Key("question", Type.TEXT, "What the person confirms.", kinds=(Kind.GATE,)),
)

TABLES: dict[str, tuple[Key, ...]] = {
    "plan": _PLAN,
    "server": _SERVER,
    "defaults": _DEFAULTS,
    "paths": _PATHS,
    "demo": _DEMO,
    "mapping": _MAPPING,
    "lookup": _LOOKUP,
    "refuse": _REFUSE,
    "phase": _PHASE,
    "task": _TASK,
    "allow": _ALLOW,
}

# Keys a kind cannot do without. A check needs checks or mappings; the loader says so itself.
REQUIRED_BY_KIND: dict[Kind, tuple[str, ...]] = {
    Kind.SQL: ("file",),
    Kind.SYNC: ("mappings",),
    Kind.BACKFILL: ("mappings",),
    Kind.CHECK: (),
    Kind.SWITCH: ("mappings", "leads"),
    Kind.DRAIN: ("mappings",),
    Kind.RETIRE: ("mappings",),
    Kind.PURGE: ("mappings", "irreversible"),
    Kind.GATE: ("question",),
}


def keys_of(table: str) -> tuple[str, ...]:
    """The names of every key a table may have."""
    return tuple(key.name for key in TABLES[table])


def task_keys(kind: Kind) -> tuple[str, ...]:
    """The names of every key a task of this kind may have."""
    return tuple(key.name for key in _TASK if not key.kinds or kind in key.kinds)


def _value_schema(key: Key) -> dict[str, Any]:
    text: dict[str, Any] = {"type": "string"}
    shapes: dict[Type, dict[str, Any]] = {
        Type.TEXT: {**text, "minLength": 1},
        Type.ID: {**text, "pattern": ID_PATTERN, "not": {"enum": list(RESERVED_IDS)}},
        Type.WHOLE: {"type": "integer"},
        Type.NUMBER: {"type": "number"},
        Type.FLAG: {"type": "boolean"},
        Type.TEXTS: {"type": "array", "items": text, "uniqueItems": True},
        Type.MAP: {"type": "object", "additionalProperties": text},
    }
    if key.of:
        reference = {"$ref": f"#/definitions/{key.of}"}
        return reference if key.type is Type.TABLE else {"type": "array", "items": reference, "minItems": 1}
    shape = dict(shapes[key.type])
    words = {Type.TEXTS: ("minItems", "maxItems"), Type.MAP: ("minProperties", "maxProperties")}
    low, high = words.get(key.type, ("minimum", "maximum"))
    if key.least is not None:
        shape[low] = key.least
    if key.most is not None:
        shape[high] = key.most
    if key.choices:
        shape["enum"] = list(key.choices)
    return shape


def _table_schema(table: str) -> dict[str, Any]:
    properties = {}
    for key in TABLES[table]:
        only = f" Only for {', '.join(key.kinds)}." if key.kinds else ""
        properties[key.name] = {**_value_schema(key), "description": key.help + only}
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    required = [key.name for key in TABLES[table] if key.required]
    return {**schema, "required": required} if required else schema


def _kind_rule(kind: Kind) -> dict[str, Any]:
    then: dict[str, Any] = {"propertyNames": {"enum": list(task_keys(kind))}, "required": list(REQUIRED_BY_KIND[kind])}
    if kind is Kind.CHECK:
        then["anyOf"] = [{"required": ["checks"]}, {"required": ["mappings"]}]
    if kind is Kind.BACKFILL:
        then["properties"] = {"mappings": {"maxItems": 1}}
    return {"if": {"properties": {"kind": {"const": kind.value}}, "required": ["kind"]}, "then": then}


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 7) of plan.toml, for editors that complete and check TOML."""
    definitions = {name: _table_schema(name) for name in TABLES if name != "plan"}
    definitions["task"]["allOf"] = [_kind_rule(kind) for kind in Kind]
    root = _table_schema("plan")
    root["properties"]["format"]["const"] = FORMAT
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": f"pgferry plan, format {FORMAT}",
        **root,
        "definitions": definitions,
    }


def reference() -> str:
    """Every table and key of plan.toml with its meaning, as Markdown."""
    lines = [f"# plan.toml, format {FORMAT}", ""]
    for table, keys in TABLES.items():
        lines += [f"## {table}", ""]
        for key in keys:
            notes = [key.type.value] + (["required"] if key.required else [])
            notes += [" | ".join(key.choices)] if key.choices else []
            notes += [f"only for {', '.join(key.kinds)}"] if key.kinds else []
            lines.append(f"- `{key.name}` ({'; '.join(notes)}): {key.help}")
        lines.append("")
    return "\n".join(lines)
