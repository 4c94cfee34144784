"""The tables behind a lookup relation, and how the relation reads when one of them holds only given rows.

A change of a lookup is seen by triggers on its tables. What a change of one table means for the relation is found by
reading the relation over the changed rows alone: a CTE of the table's name stands before the view's definition. That is
right for selections, projections and joins; where a view groups, ranks or excludes, it is not, and such a view is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg import sql

from console.engine.derive import Composed, column, commas, raw, table
from console.errors import Refused
from console.journal.connect import Conn
from console.plan.model import Lookup, Mapping, TableName

# In a stored query tree: what makes a row of the view depend on more than one row of a table.
_NOT_ROW_BY_ROW = (
    r":(hasAggs|hasWindowFuncs|hasDistinctOn|hasSubLinks|hasTargetSRFs|hasRecursive) true"
    r"|:(groupClause|groupingSets|setOperations|limitOffset|limitCount) [({]"
)
_RELATIONS = """
WITH RECURSIVE seen(oid) AS (
  SELECT to_regclass(%s)::oid
  UNION
  SELECT d.refobjid FROM seen s JOIN pg_rewrite r ON r.ev_class = s.oid
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> s.oid
)
SELECT c.oid, n.nspname, c.relname, c.relkind::text,
  c.relispartition OR EXISTS (SELECT 1 FROM pg_inherits i WHERE i.inhparent = c.oid),
  coalesce((SELECT string_agg(r.ev_action::text, ' ') FROM pg_rewrite r WHERE r.ev_class = c.oid
    AND c.relkind = 'v'), '') ~ %s,
  (SELECT min(p.proname) FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    JOIN pg_proc p ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid
    WHERE r.ev_class = c.oid AND p.provolatile <> 'i'),
  ARRAY(SELECT DISTINCT d.refobjid FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass
    AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> c.oid WHERE r.ev_class = c.oid)
FROM seen s JOIN pg_class c ON c.oid = s.oid JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY n.nspname, c.relname
"""
_REFERENCES = """
SELECT coalesce(sum(array_length(regexp_split_to_array(r.ev_action::text, ':rtekind 0 :relid ' || %s || ' '), 1) - 1), 0)
FROM pg_rewrite r WHERE r.ev_class = ANY (%s)
"""
_COLUMNS = """
SELECT a.attname FROM pg_attribute a WHERE a.attrelid = %(base)s AND a.attnum > 0 AND NOT a.attisdropped
  AND (a.attnum IN (SELECT d.refobjsubid FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass
    AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid = %(base)s
    WHERE r.ev_class = ANY (%(views)s)))
ORDER BY a.attnum
"""


@dataclass(frozen=True, slots=True)
class Base:
    """A table behind a lookup relation: the columns that matter, and the relation over given rows of it alone.

    ``over`` is the text of a query with ``{rows}`` for the rows' source; ``schemas`` must be on the search path.
    """

    name: TableName
    columns: tuple[str, ...]
    views: tuple[tuple[str, str], ...]  # (name, definition) of each view between it and the relation, in order
    schemas: tuple[str, ...]

    def over(self, rows: Composed, lookup: Lookup) -> Composed:
        """The relation's rows that come from ``rows`` (a FROM item with the table's columns)."""
        if not self.views:
            return sql.SQL("(SELECT * FROM {})").format(rows)
        parts = [sql.SQL("{} AS (SELECT * FROM {})").format(sql.Identifier(self.name.name), rows)]
        parts += [sql.SQL("{} AS ({})").format(sql.Identifier(name), raw(text)) for name, text in self.views]
        return sql.SQL("(WITH {} SELECT * FROM {})").format(commas(parts), sql.Identifier(lookup.relation.name))


def _refuse(mapping: Mapping, lookup: Lookup, why: str) -> Refused:
    return Refused(
        f"Mapping {mapping.id}: changes in lookup {lookup.relation} cannot be seen: {why}.",
        state="Nothing was changed.",
        do='Use a table or a plain join of tables as the lookup, or write changes = "uncovered" in its [[mapping.lookup]].',
    )


def bases(conn: Conn, mapping: Mapping, lookup: Lookup) -> tuple[Base, ...]:
    """The tables behind a lookup. Raises Refused where a change of its rows could not be seen or understood."""
    rows = conn.execute(_RELATIONS, (table(lookup.relation).as_string(None), _NOT_ROW_BY_ROW)).fetchall()
    if not rows:
        raise _refuse(mapping, lookup, "there is no such table or view")
    names = [row[2] for row in rows]
    for _, schema, name, kind, split, complex_, function, _ in rows:
        which = str(TableName(schema, name))
        if kind not in ("r", "v"):
            what = {"m": "materialized view", "f": "foreign table", "p": "partitioned table"}.get(kind, "no table")
            raise _refuse(mapping, lookup, f"{which} is a {what}")
        if split:
            raise _refuse(mapping, lookup, f"{which} has partitions or children, or is one")
        if complex_:
            raise _refuse(mapping, lookup, f"{which} groups, ranks, limits or uses subqueries or set operations")
        if function:
            raise _refuse(mapping, lookup, f"{which} calls {function}(), which may read other tables")
        if names.count(name) > 1:
            raise _refuse(mapping, lookup, f"it reads two relations named {name}")
    views = {row[0]: row for row in rows if row[3] == "v"}
    return tuple(_base(conn, mapping, lookup, row, rows, views) for row in rows if row[3] == "r")


def _base(
    conn: Conn, mapping: Mapping, lookup: Lookup, row: tuple[Any, ...], rows: list[Any], views: dict[int, Any]
) -> Base:
    oid, name = row[0], TableName(row[1], row[2])
    schemas = tuple(dict.fromkeys(other[1] for other in rows))
    if not views:
        wanted = dict.fromkeys([*(theirs for theirs, _ in lookup.match), lookup.gives, lookup.canonical])
        return Base(name, tuple(wanted), (), schemas)
    uses = conn.execute(_REFERENCES, (str(oid), list(views))).fetchone()
    if uses is None or int(uses[0]) != 1:
        raise _refuse(mapping, lookup, f"it reads {name} more than once")
    columns = conn.execute(_COLUMNS, {"base": oid, "views": list(views)}).fetchall()
    with conn.transaction(force_rollback=True):  # the path is as before afterwards, also inside a transaction
        conn.execute(
            sql.SQL("SET LOCAL search_path = pg_catalog, {}").format(commas(sql.Identifier(s) for s in schemas))
        )
        texts_of = conn.execute("SELECT c, pg_get_viewdef(c) FROM unnest(%s::oid[]) c", (list(views),)).fetchall()
    definitions = {view: str(text).rstrip().rstrip(";") for view, text in texts_of}
    ordered = [(views[view][2], definitions[view]) for view in _inner_first(views)]
    return Base(name, tuple(c for (c,) in columns), tuple(ordered), schemas)


def _inner_first(views: dict[int, Any]) -> list[int]:
    """Each view after those it reads."""
    done: list[int] = []

    def visit(view: int) -> None:
        for inner in views[view][7]:
            if inner in views:
                visit(inner)
        if view not in done:
            done.append(view)

    for view in views:
        visit(view)
    return done


def indexed(conn: Conn, name: TableName, columns: tuple[str, ...]) -> bool:
    """Whether an index of the table begins with exactly these columns, in any order: few rows are then found at once."""
    row = conn.execute(
        "SELECT EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = to_regclass(%s) AND i.indisvalid AND i.indpred IS NULL"
        " AND (SELECT array_agg(a.attname::text ORDER BY a.attname::text) FROM unnest(i.indkey[:%s - 1]) k(n)"
        " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n)"
        " = (SELECT array_agg(c ORDER BY c) FROM unnest(%s::text[]) c))",
        (table(name).as_string(None), len(columns), list(columns)),
    ).fetchone()
    return bool(row and row[0])


def texts(alias: str, names: tuple[str, ...]) -> Composed:
    """The columns as one value that can be compared whatever their types."""
    return sql.SQL("jsonb_build_array({})").format(
        commas(sql.SQL("{}::text").format(column(alias, name)) for name in names)
    )
