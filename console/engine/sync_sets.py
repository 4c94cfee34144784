"""Statement triggers: all the rows that a statement touched are carried at once, for bulk loads.

The OLD and NEW transition tables have no link between their rows, so the union of their keys counts: for each of them
the target is made to hold what the source holds now. One block stands round the whole write; only after it was left by
an error is the statement carried key by key, as the row triggers do it. Statements of few rows are carried so at once,
which costs them less. A set is planned each time it is written (EXECUTE): a plan that was made for a
million rows would read whole tables for fifty.
"""

from __future__ import annotations

from psycopg import sql

from console.engine import derive, sync_usual, tombstones
from console.engine import sync_parts as parts
from console.engine.derive import Composed, ands, column, commas, raw, table
from console.engine.facts import MappingFacts
from console.engine.naming import function_name, trigger_name, write_counter
from console.engine.sync_rows import SAME
from console.plan.model import Direction, Mapping, TableName

OPERATIONS = ("insert", "update", "delete")
FEW = 32  # rows that are carried key by key
_TABLES = {
    "insert": ("pgferry_came",),
    "update": ("pgferry_came", "pgferry_gone"),
    "delete": ("pgferry_gone",),
}
_REFERENCING = {"pgferry_came": "NEW TABLE AS pgferry_came", "pgferry_gone": "OLD TABLE AS pgferry_gone"}


def trigger_of(operation: str) -> str:
    """What a trigger's name adds for an operation: the first has the name that a row trigger would have."""
    return "" if operation == "insert" else operation


def _touched(names: tuple[str, ...], operation: str) -> Composed:
    return sql.SQL(" UNION ").join(
        [
            sql.SQL("SELECT {} FROM {} z").format(commas(column("z", n) for n in names), raw(transition))
            for transition in _TABLES[operation]
        ]
    )


def _same(left: str, right: str, names: tuple[str, ...] | list[str]) -> Composed:
    return ands(sql.SQL("{} = {}").format(column(left, n), column(right, n)) for n in names)


def _resolved(mapping: Mapping, touched: Composed) -> Composed:
    """The new keys of touched old keys, as far as lookups resolve them."""
    key_parts = derive.key_parts(mapping)
    lookups = [part.lookup for part in key_parts if part.lookup is not None]
    made = [
        sql.SQL("{} AS {}").format(
            column("o", p.old) if p.lookup is None else column(p.lookup.name, p.lookup.gives), sql.Identifier(p.new)
        )
        for p in key_parts
    ]
    known = [sql.SQL("{}.pgferry_n = 1").format(raw(lookup.name)) for lookup in lookups]
    return sql.SQL("SELECT DISTINCT {} FROM ({}) o {} WHERE {}").format(
        commas(made),
        touched,
        sql.SQL(" ").join([derive.lookup_join(lookup, bulk=True) for lookup in lookups]),
        ands(known) if known else raw("true"),
    )


def _sources(mapping: Mapping, old: TableName) -> Composed:
    """FROM item: every old row that stands for a touched key, old or new."""
    touched = sql.SQL("SELECT q.* FROM pgferry_k k JOIN {} q ON {}").format(
        table(old), _same("q", "k", mapping.old_key)
    )
    if not derive.many_to_one(mapping):
        return sql.SQL("({})").format(touched)
    twins = derive.preimage(mapping, old, {name: column("pgferry_t", name) for name in mapping.new_key})
    return sql.SQL(
        "(SELECT DISTINCT ON ({}) z.* FROM ({} UNION ALL SELECT y.* FROM pgferry_t CROSS JOIN LATERAL {} y) z)"
    ).format(commas(column("z", n) for n in mapping.old_key), touched, twins)


def _put(mapping: Mapping, facts: MappingFacts | None, names: list[str]) -> Composed:
    """CTEs that write the good rows: pgferry_fresh are those that were not there, pgferry_put what was inserted.

    Where several old rows may stand for one key, a row that another transaction inserted meanwhile is left as it is:
    it must be locked, and the old rows read again, before it is decided whose values it holds.
    """
    new = facts.new if facts else None
    rest = parts.settable(new, names, mapping.new_key)
    many = derive.many_to_one(mapping)
    conflict: Composed = raw("DO NOTHING")
    if rest and not many:
        conflict = sql.SQL("DO UPDATE SET {} WHERE {}").format(
            commas(sql.SQL("{} = excluded.{}").format(sql.Identifier(n), sql.Identifier(n)) for n in rest),
            derive.differ("n", "excluded", rest, new),
        )
    there = sql.SQL("SELECT 1 FROM {} m WHERE {}").format(table(mapping.new), _same("m", "g", mapping.new_key))
    changed: Composed = raw("")
    if rest:
        changed = sql.SQL(
            " pgferry_changed AS (\n      UPDATE {} n SET {} FROM pgferry_good g WHERE {} AND {}\n    ),"
        ).format(
            table(mapping.new),
            commas(sql.SQL("{} = {}").format(sql.Identifier(n), column("g", n)) for n in rest),
            _same("n", "g", mapping.new_key),
            derive.differ("n", "g", rest, new),
        )
    return sql.SQL(
        """{changed} pgferry_fresh AS MATERIALIZED (
      SELECT g.* FROM pgferry_good g WHERE NOT EXISTS ({there})
    ), pgferry_put AS (
      INSERT INTO {new} AS n ({names}) OVERRIDING SYSTEM VALUE
      SELECT {values} FROM pgferry_fresh g ORDER BY {key} ON CONFLICT ({conflict_key}) {conflict} RETURNING 1
    )"""
    ).format(
        changed=changed,
        there=there,
        new=table(mapping.new),
        names=commas(sql.Identifier(n) for n in names),
        values=commas(column("g", n) for n in names),
        key=commas(column("g", n) for n in mapping.new_key),
        conflict_key=commas(sql.Identifier(n) for n in mapping.new_key),
        conflict=conflict,
    )


def _carry_forward(
    mapping: Mapping, facts: MappingFacts | None, old: TableName, touched: Composed, *, noting: bool
) -> Composed:
    """One statement: what no old row stands for goes, what one stands for is put, rejects are noted or leave.

    Its parts are told apart by windows and groups, never joined with each other: how many rows they have is unknown
    when it is planned, and joined as if there were one, thousands take minutes. ``noting``: see ``tombstones``.
    """
    names = [name for name, _ in mapping.columns]
    olds = [f"pgferry_old_{i}" for i in range(len(mapping.old_key))]
    reason = sql.SQL("coalesce(p.pgferry_reason, {})").format(sql.Literal(SAME))
    return sql.SQL(
        """WITH pgferry_k AS MATERIALIZED ({touched}),
    pgferry_t AS MATERIALIZED ({resolved}),
    pgferry_p AS MATERIALIZED (
      SELECT p.*, p.pgferry_reason IS NULL AND row_number() OVER (
        PARTITION BY p.pgferry_reason IS NULL, {p_key} ORDER BY p.pgferry_canonical DESC, {p_old}) = 1 AS pgferry_won
      FROM ({projection}) p
    ), pgferry_good AS MATERIALIZED (
      SELECT p.* FROM pgferry_p p WHERE p.pgferry_won
    ), pgferry_lost AS MATERIALIZED (
      SELECT {old_key} AS key, to_jsonb(p.pgferry_source) AS row_data, {state} AS sqlstate, {reason} AS reason
      FROM pgferry_p p WHERE NOT p.pgferry_won
    ), pgferry_empty AS MATERIALIZED (
      SELECT {u_key} FROM (
        SELECT {t_key}, false AS held FROM pgferry_t t UNION ALL SELECT {g_key}, true FROM pgferry_good g
      ) u GROUP BY {u_key} HAVING NOT bool_or(u.held)
    ){dead}, pgferry_went AS (
      DELETE FROM {new} n USING pgferry_empty t WHERE {n_is_t}
    ), {put}, pgferry_noted AS (
      INSERT INTO pgferry.reject AS r (mapping, direction, key, row_data, sqlstate, reason)
      SELECT {id}, 'forward', l.key, l.row_data, l.sqlstate, l.reason FROM pgferry_lost l
      ON CONFLICT (mapping, direction, key) DO UPDATE SET row_data = excluded.row_data,
        sqlstate = excluded.sqlstate, reason = excluded.reason, at = excluded.at
      WHERE (r.row_data, r.sqlstate, r.reason)
        IS DISTINCT FROM (excluded.row_data, excluded.sqlstate, excluded.reason)
    ), pgferry_left AS (
      DELETE FROM pgferry.reject r USING (
        SELECT u.key FROM (
          SELECT {k_json} AS key, false AS lost FROM pgferry_k k UNION ALL SELECT {g_json}, false FROM pgferry_good g
          UNION ALL SELECT l.key, true FROM pgferry_lost l
        ) u GROUP BY u.key HAVING NOT bool_or(u.lost)
      ) f WHERE r.mapping = {id} AND r.direction = 'forward' AND r.key = f.key
    )
    SELECT (SELECT count(*) FROM pgferry_fresh) - (SELECT count(*) FROM pgferry_put)"""
    ).format(
        touched=touched,
        resolved=_resolved(mapping, raw("SELECT * FROM pgferry_k")),
        projection=derive.forward(mapping, facts, _sources(mapping, old), bulk=True),
        p_key=commas(column("p", n) for n in mapping.new_key),
        p_old=commas(column("p", n) for n in olds),
        old_key=derive.projected_key(mapping, "p"),
        state=sql.SQL("CASE WHEN p.pgferry_reason IS NULL THEN '' ELSE {} END").format(
            derive.state_of(derive.forward_tests(mapping, facts), raw("p.pgferry_reason"))
        ),
        reason=reason,
        new=table(mapping.new),
        u_key=commas(column("u", n) for n in mapping.new_key),
        t_key=commas(column("t", n) for n in mapping.new_key),
        g_key=commas(column("g", n) for n in mapping.new_key),
        dead=tombstones.noted_set(mapping, "pgferry_empty") if noting else raw(""),
        n_is_t=_same("n", "t", mapping.new_key),
        put=_put(mapping, facts, names),
        id=sql.Literal(mapping.id),
        k_json=derive.key_json("k", mapping.old_key),
        g_json=derive.projected_key(mapping, "g"),
    )


def _forward_work(mapping: Mapping, facts: MappingFacts | None, old: TableName, touched: Composed) -> Composed:
    """Where several old rows may stand for one key, the new rows are locked before the old ones are read."""
    ways = [_text(_carry_forward(mapping, facts, old, touched, noting=noting)) for noting in (True, False)]
    carry = sql.SQL(
        "{}IF {} THEN\n      EXECUTE {} INTO pgferry_late;\n    ELSE\n      EXECUTE {} INTO pgferry_late;\n    END IF"
    ).format(tombstones.before_looking(mapping), tombstones.noting(mapping), *ways)
    if not derive.many_to_one(mapping):
        return carry
    return sql.SQL(
        """LOOP
    EXECUTE {lock};
    {carry};
    EXIT WHEN pgferry_late = 0;
    END LOOP"""
    ).format(
        lock=_text(
            sql.SQL("SELECT 1 FROM ({}) t JOIN {} n ON {} ORDER BY {} FOR NO KEY UPDATE OF n").format(
                _resolved(mapping, touched),
                table(mapping.new),
                _same("n", "t", mapping.new_key),
                commas(column("n", n) for n in mapping.new_key),
            )
        ),
        carry=carry,
    )


def _text(query: Composed) -> sql.Literal:
    return sql.Literal(query.as_string(None))


def _backward_work(mapping: Mapping, facts: MappingFacts | None, old: TableName, touched: Composed) -> Composed:
    """Keys whose rows are equal on both sides (an echo) are found at once; the others are carried one by one."""
    names = [name for name, _ in mapping.columns]
    preimage = derive.preimage(mapping, old, {name: column("k", name) for name in mapping.new_key})
    source = sql.SQL("(SELECT y.* FROM pgferry_k k CROSS JOIN LATERAL {} y)").format(preimage)
    query = sql.SQL(
        """WITH pgferry_k AS MATERIALIZED ({touched}),
      pgferry_good AS MATERIALIZED (
        SELECT DISTINCT ON ({p_key}) p.* FROM ({projection}) p WHERE p.pgferry_reason IS NULL
        ORDER BY {p_key}, p.pgferry_canonical DESC, {p_old}
      )
      SELECT {g_key} FROM pgferry_good g LEFT JOIN {new} n ON {n_is_g} WHERE {no_n} OR {differs}
      UNION SELECT {n_key} FROM (
        SELECT {u_key} FROM (
          SELECT {k_key}, false AS held FROM pgferry_k k UNION ALL SELECT {g_key}, true FROM pgferry_good g
        ) u GROUP BY {u_key} HAVING NOT bool_or(u.held)
      ) u JOIN {new} n ON {n_is_u}
      UNION SELECT {k_key} FROM pgferry_k k JOIN pgferry.reject r
        ON r.mapping = {id} AND r.direction = 'reverse' AND r.key = {json}
      ORDER BY {order}"""
    ).format(
        touched=touched,
        p_key=commas(column("p", n) for n in mapping.new_key),
        p_old=commas(raw(f"p.pgferry_old_{i}") for i in range(len(mapping.old_key))),
        projection=derive.forward(mapping, facts, source, bulk=True),
        new=table(mapping.new),
        g_key=commas(column("g", n) for n in mapping.new_key),
        n_key=commas(column("n", n) for n in mapping.new_key),
        u_key=commas(column("u", n) for n in mapping.new_key),
        k_key=commas(column("k", n) for n in mapping.new_key),
        n_is_g=_same("n", "g", mapping.new_key),
        n_is_u=_same("n", "u", mapping.new_key),
        no_n=sql.SQL("{} IS NULL").format(column("n", mapping.new_key[0])),
        differs=derive.differ("g", "n", names, facts.new if facts else None),
        id=sql.Literal(mapping.id),
        json=derive.key_json("k", mapping.new_key),
        order=commas(raw(str(i + 1)) for i in range(len(mapping.new_key))),
    )
    return sql.SQL("FOR pgferry_k IN EXECUTE {} LOOP\n      PERFORM {}({});\n    END LOOP").format(
        _text(query),
        function_name(mapping, "backward"),
        commas(column("pgferry_k", n) for n in mapping.new_key),
    )


def _usual(mapping: Mapping, facts: MappingFacts | None, way: Direction, old: TableName, operation: str) -> Composed:
    """What a row trigger does first, for the key pgferry_k; a row that is not in the statement's tables is all NULL."""
    if facts is None:
        return raw("")
    key = mapping.old_key if way is Direction.FORWARD else mapping.new_key
    rows = [
        sql.SQL("      SELECT z.* INTO {} FROM {} z WHERE {};\n").format(
            raw(row),
            raw(came_or_gone if came_or_gone in _TABLES[operation] else _TABLES[operation][0]),
            _same("z", "pgferry_k", key) if came_or_gone in _TABLES[operation] else raw("false"),
        )
        for row, came_or_gone in (("NEW", "pgferry_came"), ("OLD", "pgferry_gone"))
    ]
    carry = sync_usual.forward if way is Direction.FORWARD else sync_usual.backward
    return sql.Composed([*rows, carry(mapping, facts, old)])


def function(mapping: Mapping, facts: MappingFacts | None, way: Direction, old: TableName, operation: str) -> sql.Composed:  # fmt: skip
    """The trigger function of one operation on one side."""
    forward = way is Direction.FORWARD
    key = mapping.old_key if forward else mapping.new_key
    touched = _touched(key, operation)
    work = (_forward_work if forward else _backward_work)(mapping, facts, old, touched)
    alone = sql.SQL("{}({}{})").format(
        function_name(mapping, "touch_old" if forward else "backward"),
        commas(column("pgferry_k", n) for n in key),
        sql.SQL(", NOT EXISTS (SELECT 1 FROM {} o WHERE {})").format(table(old), _same("o", "pgferry_k", key))
        if forward
        else raw(""),
    )
    recheck: Composed = raw("")
    if forward and operation != "insert":
        recheck = sql.SQL(
            """
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    INSERT INTO pgferry.recheck (mapping, key, reason)
    SELECT {}, {}, 'written under an older snapshot' FROM pgferry_gone z;
  END IF;"""
        ).format(sql.Literal(mapping.id), derive.key_json("z", key))
    body = sql.SQL(
        """{declarations}  pgferry_k record;
  pgferry_late bigint;
  pgferry_alone boolean;
BEGIN
  IF NOT EXISTS (SELECT 1 FROM {first}) THEN
    RETURN NULL;
  END IF;
  IF pg_trigger_depth() > {depth} THEN
    INSERT INTO pgferry.recheck (mapping, key, reason)
    VALUES ({id}, '{{}}', 'triggers of both sides keep changing the row');
    RETURN NULL;
  END IF;
  IF pg_trigger_depth() = 1 THEN
    PERFORM nextval({counter});
  END IF;
{version}  pgferry_alone := (SELECT count(*) FROM (SELECT 1 FROM {first} LIMIT {few}) z) < {few};
  IF NOT pgferry_alone THEN
  BEGIN
    {work};
  EXCEPTION WHEN with_check_option_violation OR {errors} THEN
    pgferry_alone := true;
  END;
  END IF;
  IF pgferry_alone THEN
    FOR pgferry_k IN SELECT z.* FROM ({touched}) z ORDER BY {order} LOOP
      pgferry_usual := false;
{usual}      IF pgferry_usual IS NOT TRUE THEN
        PERFORM {alone};
      END IF;
    END LOOP;
  END IF;{recheck}
  RETURN NULL;
END"""
    ).format(
        version=raw("")
        if operation == "delete"
        else parts.one_version(
            old if forward else mapping.new,
            key,
            sql.SQL("SELECT {} FROM pgferry_came c").format(commas(column("c", n) for n in key)),
        ),
        declarations=raw(sync_usual.DECLARATIONS),
        usual=_usual(mapping, facts, way, old, operation),
        first=raw(_TABLES[operation][0]),
        few=raw(str(FEW + 1)),
        depth=raw(str(derive.MAX_DEPTH)),
        id=sql.Literal(mapping.id),
        counter=sql.SQL("{}::regclass").format(
            sql.Literal(write_counter(mapping, "old" if forward else "new").as_string(None))
        ),
        work=work,
        errors=raw(parts.EVALUATION),
        touched=touched,
        order=commas(column("z", n) for n in key),
        alone=alone,
        recheck=recheck,
    )
    return parts.function(
        mapping, f"{way.value}_{operation}", raw(""), "trigger", parts.pins(mapping, facts), body
    )  # fmt: skip


def trigger(mapping: Mapping, way: Direction, owner: TableName, operation: str, when: Composed) -> sql.Composed:
    """The trigger of one operation: it can have no other, since each has its own transition tables."""
    return sql.SQL(
        "CREATE TRIGGER {} AFTER {} ON {} REFERENCING {} FOR EACH STATEMENT {}EXECUTE FUNCTION {}()"
    ).format(
        trigger_name(way, trigger_of(operation)),
        raw(operation.upper()),
        table(owner),
        raw(" ".join(_REFERENCING[name] for name in _TABLES[operation])),
        when,
        function_name(mapping, f"{way.value}_{operation}"),
    )  # fmt: skip
