"""Text columns that the sync compares with each other although their collations do not go together."""

from __future__ import annotations

from console.engine import derive
from console.engine.derive import table
from console.engine.facts import MappingFacts
from console.journal.connect import Conn
from console.plan.model import Mapping, TableName

# 42P22: two columns' own collations give no collation to compare them by, though the default one gives way to any
# (PostgreSQL documentation, "Collation Support: Concepts").
_DIFFERENT = """
SELECT a.attcollation::regcollation::text, b.attcollation::regcollation::text
FROM pg_attribute a, pg_attribute b
WHERE a.attrelid = to_regclass(%s) AND a.attname = %s AND b.attrelid = to_regclass(%s) AND b.attname = %s
  AND a.attcollation <> b.attcollation AND 0 NOT IN (a.attcollation, b.attcollation)
  AND '"default"'::regcollation NOT IN (a.attcollation, b.attcollation)
"""
Pair = tuple[TableName, str, TableName, str]  # table, column, and those it is compared with


def conflicts(conn: Conn, mapping: Mapping, facts: MappingFacts) -> list[str]:
    """A sentence for each pair of columns that cannot be compared, or are equal by different rules."""
    return [
        *_by_other_rules(mapping, facts),
        *(text for pair in _pairs(mapping, facts) for text in _different(conn, pair)),
    ]


def _pairs(mapping: Mapping, facts: MappingFacts) -> list[Pair]:
    old, new = facts.old.name, facts.new.name
    keys: list[Pair] = [
        (old, part.old, new, part.new)
        if part.lookup is None
        else (part.lookup.relation, part.lookup.gives, new, part.new)
        for part in derive.key_parts(mapping)
    ]
    return keys + [(lookup.relation, theirs, old, ours) for lookup in mapping.lookups for theirs, ours in lookup.match]


def _different(conn: Conn, pair: Pair) -> list[str]:
    one, its, other, theirs = pair
    rows = conn.execute(_DIFFERENT, (table(one).as_string(None), its, table(other).as_string(None), theirs)).fetchall()
    return [
        f"{one}.{its} has collation {left} and {other}.{theirs} has {right}: to compare them would fail the application's write."
        for left, right in rows
    ]


def _by_other_rules(mapping: Mapping, facts: MappingFacts) -> list[str]:
    found = []
    for part in derive.key_parts(mapping):
        old, new = facts.old.column(part.old) if part.old else None, facts.new.column(part.new)
        if old is not None and new is not None and old.loose != new.loose:
            found.append(
                f"Keys {part.old} and {part.new} are equal by different rules (a nondeterministic collation on one side)."
            )
    return found
