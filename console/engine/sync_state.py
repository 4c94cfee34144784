"""Whether the triggers of a sync that is on still see every write: someone may have disabled or dropped them since.

Or have made what would have been refused when the sync went on: row-level security, a rule, an inheritance child.
"""

from __future__ import annotations

from dataclasses import replace

from console.engine import lookups, refusals
from console.engine.derive import table
from console.engine.facts import mapping_facts
from console.engine.naming import function_name, trigger_text
from console.engine.sync import trigger_kinds
from console.errors import FerryError
from console.journal.connect import Conn
from console.plan.model import Direction, Mapping, TableName

# Every table of a side (its partitions too) with the state of the trigger that each should have.
_TRIGGERS = """
SELECT t.relid::regclass::text, w.name, g.tgenabled::text FROM (
  SELECT to_regclass(%(table)s) AS relid WHERE to_regclass(%(table)s) IS NOT NULL
  UNION SELECT p.relid FROM pg_partition_tree(to_regclass(%(table)s)) p
) t CROSS JOIN unnest(%(names)s::text[]) w(name) LEFT JOIN pg_trigger g ON g.tgrelid = t.relid AND g.tgname = w.name
WHERE (g.tgenabled IS NULL OR g.tgenabled IN ('D', 'R')) ORDER BY 1, 2"""


def is_on(conn: Conn, mapping: Mapping, way: Direction) -> bool:
    """Whether a direction was switched on and not off again: its functions are there."""
    name = function_name(mapping, f"{way.value}_row").as_string(None)
    row = conn.execute("SELECT to_regproc(%s) IS NOT NULL", (name,)).fetchone()
    return bool(row and row[0])


def faults(conn: Conn, mapping: Mapping, old: TableName) -> list[str]:
    """One sentence for each trigger of a direction that is on and would miss writes; empty when all is well."""
    found = []
    ways = [way for way in Direction.BOTH.ways if is_on(conn, mapping, way)]
    for way in ways:
        owner = old if way is Direction.FORWARD else mapping.new
        rows = conn.execute(
            _TRIGGERS,
            {
                "table": table(owner).as_string(None),
                "names": [trigger_text(way, what) for what in trigger_kinds(mapping)],
            },
        ).fetchall()
        for relation, name, state in rows:
            what = "is missing" if state is None else "is disabled" if state == "D" else "fires for replicas only"
            found.append(f"trigger {name} on {relation} {what}: writes to it are not carried")
    return found + lookups.faults(conn, mapping) + _since(conn, mapping, old, ways)


def _since(conn: Conn, mapping: Mapping, old: TableName, ways: list[Direction]) -> list[str]:
    """What would be refused if the sync were switched on now."""
    if not ways:
        return []
    try:
        facts = mapping_facts(conn, replace(mapping, old=old), old.schema)
    except FerryError as error:
        return [error.what]
    return list(dict.fromkeys(o.what for way in ways for o in refusals.obstacles(conn, mapping, facts, way)))


def uncovered(conn: Conn, way: Direction, owner: TableName) -> list[TableName]:
    """Partitions of a table whose TRUNCATE no trigger of the direction sees, though that of the table itself is seen."""
    rows = conn.execute(
        "SELECT n.nspname, c.relname FROM pg_partition_tree(to_regclass(%(table)s)) p JOIN pg_class c ON c.oid = p.relid"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.level > 0"
        " AND EXISTS (SELECT 1 FROM pg_trigger g WHERE g.tgrelid = to_regclass(%(table)s) AND g.tgname = %(name)s)"
        " AND NOT EXISTS (SELECT 1 FROM pg_trigger g WHERE g.tgrelid = p.relid AND g.tgname = %(name)s) ORDER BY 1, 2",
        {"table": table(owner).as_string(None), "name": trigger_text(way, "truncate")},
    ).fetchall()
    return [TableName(*row) for row in rows]
