"""TRUNCATE of either table, or of one partition of it, empties the other; rejects go with the rows they stand for.

What only the other side can hold (rows that this side refused, listed among the rejects) stays there: it never was in
the table that was truncated. Where there are such rows, foreign keys lead to the other table, or somebody is
writing it, rows are deleted instead of truncated. Where even that fails (an open cursor, a trigger of the application) they go one by one, and what
cannot go is noted: the application's own TRUNCATE never fails for us.

TRUNCATE empties what its own snapshot does not show. Under an older snapshot the other table may only look empty, and
rejects that it cannot see are left for ``settle``.
"""

from __future__ import annotations

from psycopg import sql

from console.engine import derive
from console.engine import sync_parts as parts
from console.engine.derive import Composed, ands, column, commas, raw, table
from console.engine.facts import MappingFacts
from console.engine.sync_rows import SAME
from console.plan.model import Direction, Mapping, TableName, Writers

_FAILURES = raw(f"{parts.EVALUATION} OR with_check_option_violation OR object_in_use")
# Less than deadlock_timeout: who writes the other table now may wait for the truncated one. It has locked no row yet (see
# ``gate``), so rows can be deleted beside it, and it will not end before we do. Without the gate it may be about to end.
PATIENCE_MS = {Writers.ORDERED: 20, Writers.FREE: 200}
_WITHIN = "/*partition*/"  # where the condition of the truncated partition goes


def _rejects(mapping: Mapping, direction: Direction) -> Composed:
    return sql.SQL("r.mapping = {} AND r.direction = {}").format(
        sql.Literal(mapping.id), sql.Literal(direction.value)
    )  # fmt: skip


def _goes(mapping: Mapping, direction: Direction, key: tuple[str, ...]) -> Composed:
    """Of the other table's rows ``z``: none that only it can hold. A second spelling is no such row."""
    other = Direction.REVERSE if direction is Direction.FORWARD else Direction.FORWARD
    return sql.SQL("NOT EXISTS (SELECT 1 FROM pgferry.reject r WHERE {} AND r.reason <> {} AND r.key = {})").format(
        _rejects(mapping, other), sql.Literal(SAME), derive.key_json("z", key)
    )


def _without_source(mapping: Mapping, old: TableName) -> Composed:
    """New rows ``z`` for which no old row stands any more."""
    source = derive.preimage(mapping, old, {name: column("z", name) for name in mapping.new_key})
    return sql.SQL("NOT EXISTS (SELECT 1 FROM {} y)").format(source)


def _of_partition(mapping: Mapping, facts: MappingFacts | None, source: Composed, *, bulk: bool) -> Composed:
    """Old rows that the truncated partition held or, while they are copied, would have held: SELECT of their keys.

    The partition's condition is over columns of the new key, which every unique index of a partitioned table has.
    """
    return sql.SQL(
        "SELECT {} FROM (SELECT p.* FROM ({}) p WHERE {}) p WHERE p.pgferry_reason IS NULL"
        " AND NOT EXISTS (SELECT 1 FROM {} n WHERE {})"
    ).format(
        commas(raw(f"p.pgferry_old_{i}") for i in range(len(mapping.old_key))),
        derive.forward(mapping, facts, source, bulk=bulk),
        raw(_WITHIN),
        table(mapping.new),
        ands(sql.SQL("{} = {}").format(column("n", k), column("p", k)) for k in mapping.new_key),
    )


def _conditions(mapping: Mapping, facts: MappingFacts | None, old: TableName, *, forward: bool) -> tuple[str, str]:
    """After TRUNCATE of a partition, which of the other table's rows ``z`` go: as a set, and asked row by row."""
    if forward:
        condition = _without_source(mapping, old).as_string(None)
        return condition, condition
    key = commas(column("z", name) for name in mapping.old_key)
    every = _of_partition(mapping, facts, sql.SQL("(SELECT q.* FROM {} q)").format(table(old)), bulk=True)
    itself = sql.SQL("(SELECT q.* FROM {} q WHERE {})").format(
        table(old), ands(sql.SQL("{} = {}").format(column("q", n), column("z", n)) for n in mapping.old_key)
    )
    alone = _of_partition(mapping, facts, itself, bulk=False)
    return (
        sql.SQL("({}) IN ({})").format(key, every).as_string(None),
        sql.SQL("EXISTS ({})").format(alone).as_string(None),
    )


def function(mapping: Mapping, facts: MappingFacts | None, direction: Direction, old: TableName) -> sql.Composed:
    """The trigger function of the TRUNCATE triggers of one side and of its partitions.

    The other table is locked before its rejects are looked at: a writer that is under way may be noting one.
    """
    forward = direction is Direction.FORWARD
    side, goal = (old, mapping.new) if forward else (mapping.new, old)
    side_key, key = (mapping.old_key, mapping.new_key) if forward else (mapping.new_key, mapping.old_key)
    own, of_goal = (facts.old, facts.new) if facts and forward else (facts.new, facts.old) if facts else (None, None)
    as_set, row_by_row = _conditions(mapping, facts, old, forward=forward)
    goes = _goes(mapping, direction, key)
    delete = sql.SQL("DELETE FROM {} z WHERE ").format(table(goal)).as_string(None)
    other = Direction.REVERSE if forward else Direction.FORWARD
    body = sql.SQL(
        """DECLARE
  pgferry_k record;
  pgferry_which text := {goes_text};
  pgferry_within text;
  pgferry_patience text;
BEGIN
  IF TG_RELID = {side}::regclass THEN
    DELETE FROM pgferry.reject r WHERE {refused};
    IF (pg_trigger_depth() > 1 OR current_setting('transaction_isolation') = 'read committed')
      AND NOT EXISTS (SELECT 1 FROM {goal}) THEN
      RETURN NULL;
    END IF;
    BEGIN
      pgferry_patience := current_setting('lock_timeout');
      PERFORM set_config('lock_timeout', '{patience}ms', true);
      LOCK TABLE {goal} IN ACCESS EXCLUSIVE MODE;
      PERFORM set_config('lock_timeout', pgferry_patience, true);
      IF {referenced} OR EXISTS (SELECT 1 FROM pgferry.reject r WHERE {kept}) THEN
        DELETE FROM {goal} z WHERE {goes};
      ELSE
        TRUNCATE {goal};
      END IF;
      RETURN NULL;
    EXCEPTION WHEN lock_not_available OR {failures} THEN
      NULL;
    END;
    BEGIN
      DELETE FROM {goal} z WHERE {goes};
      RETURN NULL;
    EXCEPTION WHEN {failures} THEN
      NULL;
    END;
  ELSE
    DELETE FROM pgferry.reject r WHERE {refused} AND NOT EXISTS (SELECT 1 FROM {source} y WHERE {there});
    pgferry_within := coalesce(pg_get_partition_constraintdef(TG_RELID), 'true');
    BEGIN
      EXECUTE replace({delete} || {as_set} || ' AND ' || pgferry_which, {within}, pgferry_within);
      RETURN NULL;
    EXCEPTION WHEN {failures} THEN
      pgferry_which := replace({row_by_row} || ' AND ' || pgferry_which, {within}, pgferry_within);
    END;
  END IF;
  FOR pgferry_k IN SELECT {key} FROM {goal} z LOOP
    BEGIN
      EXECUTE {one} || pgferry_which USING {values};
    EXCEPTION WHEN {failures} THEN
      INSERT INTO pgferry.recheck (mapping, key, reason) VALUES ({id}, '{{}}', {words} || SQLERRM);
    END;
  END LOOP;
  RETURN NULL;
END"""
    ).format(
        goes_text=sql.Literal(goes.as_string(None)),
        side=sql.Literal(table(side).as_string(None)),
        refused=_rejects(mapping, direction),
        goal=table(goal),
        referenced=raw("true" if of_goal is not None and of_goal.referenced else "false"),
        kept=_rejects(mapping, other),
        goes=goes,
        patience=raw(str(PATIENCE_MS[mapping.writers])),
        failures=_FAILURES,
        source=table(side),
        there=parts.from_json(own, side_key, "y", "r.key"),
        delete=sql.Literal(delete),
        as_set=sql.Literal(as_set),
        row_by_row=sql.Literal(row_by_row),
        within=sql.Literal(_WITHIN),
        key=commas(column("z", name) for name in key),
        one=sql.Literal(
            delete + "".join(f"z.{sql.Identifier(n).as_string(None)} = ${i + 1} AND " for i, n in enumerate(key))
        ),
        values=commas(column("pgferry_k", name) for name in key),
        id=sql.Literal(mapping.id),
        words=sql.Literal(f"a row of {goal} cannot go: "),
    )
    return parts.function(mapping, f"{direction.value}_truncate", raw(""), "trigger", parts.pins(mapping, facts), body)
