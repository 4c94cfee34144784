"""Rows of a lookup that are made on demand: the first old row with a new value makes it, by the plan's own expression.

Two writers of the same new value, or of two in opposite orders, must not deadlock, nor wait for each other's
transactions. So whoever finds a value missing takes one lock for the whole lookup before it makes the row, waits for
it no longer than ``PATIENCE_MS`` (less than deadlock_timeout), and otherwise leaves its row among the rejects, with its
key noted for a second look.
"""

from __future__ import annotations

from psycopg import sql

from console.engine import derive
from console.engine import sync_parts as parts
from console.engine.derive import Composed, ands, column, raw, table
from console.engine.facts import MappingFacts
from console.engine.naming import function_name
from console.engine.sync_parts import argument, argument_key, key_is
from console.plan.model import Lookup, Mapping, Missing, TableName

PATIENCE_MS = 200


def _creating(mapping: Mapping) -> list[Lookup]:
    return [lookup for lookup in mapping.lookups if lookup.missing is Missing.CREATE]


def names(mapping: Mapping) -> tuple[str, ...]:
    """What the functions are called, to drop them."""
    return tuple(f"make_{lookup.name}" for lookup in _creating(mapping))


def _missing(mapping: Mapping, lookup: Lookup, old: TableName) -> Composed:
    """Whether the old row with the key in the arguments has a value that nothing matches."""
    there = ands(sql.SQL("r.{} = {}").format(sql.Identifier(theirs), column("o", o)) for theirs, o in lookup.match)
    given = ands(sql.SQL("{} IS NOT NULL").format(column("o", o)) for _, o in lookup.match)
    return sql.SQL("EXISTS (SELECT 1 FROM {} o WHERE {} AND {} AND NOT EXISTS (SELECT 1 FROM {} r WHERE {}))").format(
        table(old), key_is("o", mapping.old_key), given, table(lookup.relation), there
    )


def when_missing(mapping: Mapping, old: TableName) -> Composed:
    """For the function that is given an old key: make what is missing; looked for first, so that little is locked."""
    calls = [
        sql.SQL("  IF NOT pgferry_gone AND {} THEN\n    PERFORM {}({});\n  END IF;\n").format(
            _missing(mapping, lookup, old),
            function_name(mapping, f"make_{lookup.name}"),
            derive.commas(argument(i) for i in range(len(mapping.old_key))),
        )
        for lookup in _creating(mapping)
    ]
    return sql.SQL("").join(calls)


def functions(mapping: Mapping, facts: MappingFacts | None, old: TableName) -> list[sql.Composed]:
    """A function for each lookup that makes rows: it looks again under the lock, then makes the row."""
    return [_function(mapping, facts, old, lookup) for lookup in _creating(mapping)]


def _function(mapping: Mapping, facts: MappingFacts | None, old: TableName, lookup: Lookup) -> sql.Composed:
    body = sql.SQL(
        """BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('pgferry'), hashtext({relation}));
  IF {missing} THEN
    PERFORM {create} FROM {old} o WHERE {key_is};
  END IF;
EXCEPTION WHEN lock_not_available OR transaction_rollback OR {errors} THEN
  INSERT INTO pgferry.recheck (mapping, key, reason)
  VALUES ({id}, {key}, {what} || SQLERRM);
END"""
    ).format(
        relation=sql.Literal(str(lookup.relation)),
        missing=_missing(mapping, lookup, old),
        create=raw(lookup.create),
        old=table(old),
        key_is=key_is("o", mapping.old_key),
        errors=raw(parts.EVALUATION),
        id=sql.Literal(mapping.id),
        key=argument_key(mapping.old_key),
        what=sql.Literal(f"no row could be made in {lookup.relation}: "),
    )
    pinned = parts.pins(mapping, facts) + raw(f" SET lock_timeout = '{PATIENCE_MS}ms'")
    return parts.function(
        mapping, f"make_{lookup.name}", parts.arguments(old, mapping.old_key), "void", pinned, body
    )  # fmt: skip
