"""What would keep a sync from seeing or carrying a write: found in the catalogue before a trigger is made."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from console.engine import collations
from console.engine.derive import table
from console.engine.facts import MappingFacts, TableFacts
from console.engine.naming import trigger_name
from console.engine.sync import trigger_kinds
from console.errors import Refused
from console.journal.connect import Conn
from console.plan.model import Direction, Mapping, TableName, Triggers


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A reason why a sync would be wrong, and what removes it."""

    what: str
    do: str


def refuse(conn: Conn, mapping: Mapping, facts: MappingFacts, direction: Direction) -> None:
    """Raise Refused, naming everything at once, if writes of ``direction`` could be missed or could fail."""
    found = obstacles(conn, mapping, facts, direction)
    if found:
        raise Refused(
            f"Mapping {mapping.id} cannot be kept in sync: " + " ".join(o.what for o in found),
            state="Nothing was changed.",
            do=" ".join(dict.fromkeys(o.do for o in found)),
        )


def obstacles(conn: Conn, mapping: Mapping, facts: MappingFacts, direction: Direction) -> list[Obstacle]:
    """Everything that speaks against a sync of ``direction``."""
    if closed := _schemas(conn, mapping, facts):
        return closed  # nothing in them can be asked about
    found = _sessions(conn) + _functions(conn)
    for side in (facts.old, facts.new):
        found += _table(conn, side)
    found += _unseen(conn, mapping, facts) + _expressions(conn, mapping, facts)
    if conn.execute(_UNLOGGED, (_oid(facts.old.name), _oid(facts.new.name))).fetchone() == ("p", "u"):
        found.append(
            Obstacle(
                f"{facts.new.name} is UNLOGGED: a crash empties it, and replicas never hold it.",
                f"ALTER TABLE {facts.new.name} SET LOGGED.",
            )
        )
    found += [
        Obstacle(what, "Give both columns the same collation, or one of them the default.")
        for what in collations.conflicts(conn, mapping, facts)
    ]
    for way in direction.ways:
        forward = way is Direction.FORWARD
        source, goal = (facts.old, facts.new) if forward else (facts.new, facts.old)
        mapped = [name for name, _ in (mapping.columns if forward else mapping.back)]
        if mapping.triggers is Triggers.STATEMENT and (source.partitioned or source.partition):
            found.append(
                Obstacle(
                    f"{source.name} is partitioned or a partition: statement triggers miss writes by way of the other.",
                    _BY_ROW,
                )
            )
        if mapping.triggers is Triggers.STATEMENT:
            found += _statements_not_seen(conn, source.name)
        found += _constraints(conn, goal) + _unfilled(conn, goal, mapped)
        found += _rights(conn, source.name, goal.name, [lookup.relation for lookup in mapping.lookups])
        found += _defaults(conn, goal, mapped)
    return list(dict.fromkeys(found))


def _oid(name: TableName) -> str:
    return table(name).as_string(None)


def open_schemas(conn: Conn, mapping: Mapping, facts: MappingFacts) -> str:
    """A warning where anybody may make objects in a schema that the sync's functions look names up in; else "".

    They run with their owner's rights, and a function or operator made there that fits an argument better than
    pg_catalog's would run with them (PostgreSQL: CREATE FUNCTION, writing SECURITY DEFINER functions safely). To leave
    the schema out of their path would hide types such as citext. Before 15 it is how every database comes.
    """
    rows = conn.execute(
        "SELECT DISTINCT n.nspname FROM pg_namespace n,"
        " aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a WHERE n.nspname = ANY (%s)"
        " AND a.grantee = 0 AND a.privilege_type = 'CREATE' ORDER BY 1",
        (_schema_names(mapping, facts),),
    ).fetchall()
    if not rows:
        return ""
    names = ", ".join(name for (name,) in rows)
    revoke = "; ".join(
        sql.SQL("REVOKE CREATE ON SCHEMA {} FROM PUBLIC").format(sql.Identifier(name)).as_string(None)
        for (name,) in rows
    )
    return (
        f"every role may make functions in {names}, which the sync's functions might call with their owner's rights:"
        f" {revoke}"
    )


def _schema_names(mapping: Mapping, facts: MappingFacts) -> list[str]:
    names = [facts.old.name, facts.new.name, *(lookup.relation for lookup in mapping.lookups)]
    return list(dict.fromkeys(name.schema for name in names))


def _schemas(conn: Conn, mapping: Mapping, facts: MappingFacts) -> list[Obstacle]:
    rows = conn.execute(
        "SELECT s.name FROM unnest(%s::text[]) s(name) WHERE NOT has_schema_privilege(s.name, 'USAGE') ORDER BY 1",
        (_schema_names(mapping, facts),),
    ).fetchall()
    return [
        Obstacle(f"This role lacks USAGE on schema {name}.", "Run as the owner of the tables, or grant it.")
        for (name,) in rows
    ]


_UNLOGGED = (
    "SELECT a.relpersistence::text, b.relpersistence::text FROM pg_class a, pg_class b"
    " WHERE a.oid = to_regclass(%s) AND b.oid = to_regclass(%s)"
)


def _sessions(conn: Conn) -> list[Obstacle]:
    """Sessions in the replica role fire no ordinary trigger."""
    rows = conn.execute(
        "SELECT coalesce('role ' || r.rolname, 'every role'), coalesce('database ' || d.datname, 'every database')"
        " FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole"
        " LEFT JOIN pg_database d ON d.oid = s.setdatabase"
        " WHERE (s.setdatabase = 0 OR d.datname = current_database())"
        " AND EXISTS (SELECT 1 FROM unnest(s.setconfig) c WHERE c ~* '^session_replication_role=(replica)')"
    ).fetchall()
    found = [
        Obstacle(
            f"Sessions of {role} in {database} run with session_replication_role = replica: no trigger sees their writes.",
            "Reset session_replication_role for them (ALTER ROLE .. RESET, ALTER DATABASE .. RESET).",
        )
        for role, database in rows
    ]
    row = conn.execute("SELECT current_setting('session_replication_role')").fetchone()
    if row and row[0] == "replica":
        found.append(
            Obstacle(
                "This session itself runs with session_replication_role = replica.",
                "Reset session_replication_role for this role or connection.",
            )
        )
    return found


_BY_ROW = 'Use triggers = "row" for this mapping.'


def _functions(conn: Conn) -> list[Obstacle]:
    """Functions and procedures that turn triggers off for what they write, by a setting of theirs or in their body."""
    rows = conn.execute(
        "SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.pronamespace <> 'pg_catalog'::regnamespace"
        " AND (EXISTS (SELECT 1 FROM unnest(p.proconfig) c WHERE c ~* '^session_replication_role=replica')"
        r" OR p.prosrc ~* 'session_replication_role\y[''\s,]*(=|to|,)?[''\s]*replica\y') ORDER BY 1"
    ).fetchall()
    return [
        Obstacle(
            f"Function {name} sets session_replication_role = replica: no trigger sees what it writes.",
            f"Drop {name}, or remove the setting (ALTER FUNCTION .. RESET session_replication_role).",
        )
        for (name,) in rows
    ]


def _unseen(conn: Conn, mapping: Mapping, facts: MappingFacts) -> list[Obstacle]:
    """Relations that are read for each row and whose rows row-level security would hide from the triggers."""
    names = [lookup.relation for lookup in mapping.lookups]
    names += [key.references for side in (facts.old, facts.new) for key in side.foreign_keys]
    rows = conn.execute(_HIDDEN, ([_oid(name) for name in dict.fromkeys(names)],)).fetchall()
    return [
        Obstacle(
            f"Row-level security on {name} would hide rows from the triggers, so that good rows were refused.",
            "Run as the table's owner without FORCE ROW LEVEL SECURITY, or as a role with BYPASSRLS.",
        )
        for (name,) in rows
    ]


# Tables, and tables behind views, whose policies hold for who reads: views read with their owner's rights.
_HIDDEN = """
WITH RECURSIVE seen(oid, reader) AS (
  SELECT to_regclass(w.name)::oid, (SELECT oid FROM pg_roles WHERE rolname = current_user) FROM unnest(%s::text[]) w(name)
  UNION
  SELECT d.refobjid, CASE WHEN c.reloptions::text ~ 'security_invoker=(true|on|yes|1)' THEN s.reader ELSE c.relowner END
  FROM seen s JOIN pg_class c ON c.oid = s.oid AND c.relkind = 'v' JOIN pg_rewrite r ON r.ev_class = s.oid
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> s.oid
)
SELECT DISTINCT c.oid::regclass::text FROM seen s JOIN pg_class c ON c.oid = s.oid JOIN pg_roles r ON r.oid = s.reader
WHERE c.relrowsecurity AND (c.relforcerowsecurity OR NOT pg_has_role(s.reader, c.relowner, 'USAGE'))
  AND NOT (r.rolbypassrls OR r.rolsuper) ORDER BY 1
"""


def _expressions(conn: Conn, mapping: Mapping, facts: MappingFacts) -> list[Obstacle]:
    """The facts know no types where the role may not evaluate the mapping's expressions at all."""
    if facts.columns and facts.back:
        return []
    user = conn.execute("SELECT current_user").fetchone()
    return [
        Obstacle(
            f"The role {user[0] if user else ''} may not evaluate the expressions of mapping {mapping.id}.",
            "Grant it SELECT on the mapping's tables and EXECUTE on the functions that its expressions use.",
        )
    ]


def _statements_not_seen(conn: Conn, source: TableName) -> list[Obstacle]:
    """Writes that fire row triggers only: by way of an inheritance parent, and those that a subscription applies."""
    found = []
    parents = conn.execute(
        "SELECT i.inhparent::regclass::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhrelid = to_regclass(%s) AND NOT c.relispartition ORDER BY 1",
        (_oid(source),),
    ).fetchall()
    if parents:
        found.append(
            Obstacle(
                f"{source} inherits from {', '.join(p[0] for p in parents)}: statement triggers miss writes to that.",
                _BY_ROW,
            )
        )
    if subscribed(conn, source):
        found.append(Obstacle(f"{source} is subscribed: what is applied fires no statement trigger.", _BY_ROW))
    return found


def _defaults(conn: Conn, goal: TableFacts, mapped: list[str]) -> list[Obstacle]:
    """Sequences that fill what the mapping does not: the functions' owner draws from them. Identity needs no right."""
    rows = conn.execute(
        "SELECT s.oid::regclass::text FROM pg_attrdef a JOIN pg_attribute t ON t.attrelid = a.adrelid"
        " AND t.attnum = a.adnum JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = a.oid"
        " AND d.refclassid = 'pg_class'::regclass JOIN pg_class s ON s.oid = d.refobjid"
        " WHERE a.adrelid = to_regclass(%s) AND NOT t.attname = ANY (%s)"
        " AND CASE WHEN s.relkind = 'S' THEN NOT has_sequence_privilege(s.oid, 'USAGE, UPDATE') END ORDER BY 1",
        (_oid(goal.name), mapped),
    ).fetchall()
    return [
        Obstacle(
            f"The role lacks USAGE on sequence {name}, which fills a column of {goal.name}.",
            f"GRANT USAGE ON SEQUENCE {name}, or run as its owner.",
        )
        for (name,) in rows
    ]


def _table(conn: Conn, facts: TableFacts) -> list[Obstacle]:
    name = facts.name
    found = []
    children = conn.execute(
        "SELECT c.oid::regclass::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = to_regclass(%s) AND NOT c.relispartition ORDER BY 1",
        (_oid(name),),
    ).fetchall()
    if children:
        found.append(
            Obstacle(
                f"{name} has inheritance children ({', '.join(c[0] for c in children)}): its triggers do not see writes to them.",
                "Make them partitions, or map them on their own after ALTER TABLE .. NO INHERIT.",
            )
        )
    rules = conn.execute(
        "SELECT rulename FROM pg_rewrite WHERE ev_class = to_regclass(%s) AND rulename <> '_RETURN' ORDER BY 1",
        (_oid(name),),
    ).fetchall()
    if rules:
        found.append(
            Obstacle(
                f"{name} has rules ({', '.join(r[0] for r in rules)}), which turn writes into others before a trigger sees them.",
                "Replace the rules by triggers.",
            )
        )
    return found


def _constraints(conn: Conn, goal: TableFacts) -> list[Obstacle]:
    """What would only refuse a row when the application commits, outside of any function of ours."""
    rows = conn.execute(
        "SELECT k.conname, k.contype::text, k.condeferred, k.conrelid::regclass::text FROM pg_constraint k"
        " WHERE (k.conrelid = to_regclass(%(table)s) AND k.condeferrable AND (k.contype <> 'f' OR k.condeferred))"
        " OR (k.confrelid = to_regclass(%(table)s) AND k.contype = 'f' AND k.condeferred) ORDER BY 1",
        {"table": _oid(goal.name)},
    ).fetchall()
    found = []
    for name, kind, deferred, owner in rows:
        remedy = (
            f"ALTER TABLE {owner} ALTER CONSTRAINT {name} DEFERRABLE INITIALLY IMMEDIATE, until the old table is retired."
            if kind == "f"
            else f"Make {name} of {owner} NOT DEFERRABLE (drop it and create it again), until the old table is retired."
        )
        when = "is deferred" if deferred else "can be deferred by any session"
        found.append(
            Obstacle(
                f"Constraint {name} of {owner} {when}: a row that it refuses would fail the application's COMMIT.",
                remedy,
            )
        )
    return found


def _unfilled(conn: Conn, goal: TableFacts, mapped: list[str]) -> list[Obstacle]:
    rows = conn.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"
        " AND attnotnull AND NOT atthasdef AND attidentity = '' AND NOT attname = ANY (%s) ORDER BY attnum",
        (_oid(goal.name), mapped),
    ).fetchall()
    return [
        Obstacle(
            f"{goal.name}.{name} must not be null, has no default, and the mapping does not fill it: every row would be refused.",
            f"Map {name}, or give it a default.",
        )
        for (name,) in rows
    ]


def _rights(conn: Conn, source: TableName, goal: TableName, lookups: list[TableName]) -> list[Obstacle]:
    """The functions run with the rights of who makes them: asked here, not at the application's first write."""
    wanted = [
        *((source, right) for right in ("SELECT", "TRIGGER")),
        *((goal, right) for right in ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE")),
        *((name, "SELECT") for name in lookups),
    ]
    rows = conn.execute(
        'SELECT w.name, w.right FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY w(name, "right", place)'
        " WHERE NOT has_table_privilege(to_regclass(w.name), w.right) ORDER BY place",
        ([_oid(name) for name, _ in wanted], [right for _, right in wanted]),
    ).fetchall()
    user = conn.execute("SELECT current_user").fetchone()
    return [
        Obstacle(
            f"The role {user[0] if user else ''} lacks {right} on {name}.",
            "Run as the owner of the tables, or grant it.",
        )
        for name, right in rows
    ]


def subscribed(conn: Conn, name: TableName) -> bool:
    """Whether a subscription writes to the table or one of its partitions: its workers run in the replica role."""
    row = conn.execute(
        "SELECT count(*) FROM pg_subscription_rel WHERE srrelid = to_regclass(%(table)s)"
        " OR srrelid IN (SELECT relid FROM pg_partition_tree(to_regclass(%(table)s)))",
        {"table": _oid(name)},
    ).fetchone()
    return bool(row and row[0])


def always(conn: Conn, mapping: Mapping, direction: Direction, old: TableName) -> list[sql.Composed]:
    """Statements that make the triggers fire for a subscription's workers too, where one side is subscribed.

    Where both are, the publisher sends both tables and keeps them in sync itself: carried again here, each write would
    be written twice.
    """
    sides = {way: subscribed(conn, old if way is Direction.FORWARD else mapping.new) for way in Direction.BOTH.ways}
    if all(sides.values()):
        return []
    made = []
    for way in direction.ways:
        owner = old if way is Direction.FORWARD else mapping.new
        if not sides[way]:
            continue
        made += [(owner, trigger_name(way, what)) for what in trigger_kinds(mapping)]
        made += [(part, trigger_name(way, "truncate")) for part in _parts(conn, owner)]
    return [sql.SQL("ALTER TABLE {} ENABLE ALWAYS TRIGGER {}").format(table(owner), trigger) for owner, trigger in made]


def _parts(conn: Conn, owner: TableName) -> list[TableName]:
    """The partitions of a table: each has a TRUNCATE trigger of its own, the others are copies of the table's."""
    rows = conn.execute(
        "SELECT n.nspname, c.relname FROM pg_partition_tree(to_regclass(%s)) p JOIN pg_class c ON c.oid = p.relid"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.level > 0 ORDER BY 1, 2",
        (_oid(owner),),
    ).fetchall()
    return [TableName(*row) for row in rows]
