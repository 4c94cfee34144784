"""Pieces that the functions of the sync share: how they are declared, how a row is refused, how a value is evaluated."""

from __future__ import annotations

from psycopg import sql

from console.engine import derive
from console.engine.derive import Composed, ands, column, commas, raw, table
from console.engine.facts import MappingFacts, TableFacts
from console.engine.naming import function_name
from console.plan.model import Direction, Mapping, TableName

# What evaluating an expression may raise: bad data, the plan's own functions, something that was dropped or revoked.
# Deadlocks and serialisation failures (class 40) are never caught: they are the application's to retry.
EVALUATION = (
    "data_exception OR integrity_constraint_violation OR cardinality_violation OR plpgsql_error"
    " OR external_routine_exception OR syntax_error_or_access_rule_violation"
)
# What a target may answer to a write: its constraints, and RAISE in the application's own triggers.
WRITE = "data_exception OR integrity_constraint_violation OR plpgsql_error OR with_check_option_violation"
_PINS = "SECURITY DEFINER SET search_path = pg_catalog, {path}, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO, MDY'"
_KEY_PINS = {  # settings under which these types write the same text in every session
    700: "extra_float_digits = 1",
    701: "extra_float_digits = 1",
    1186: "intervalstyle = 'postgres'",
    17: "bytea_output = 'hex'",
}
# Whoever makes good what could not be judged before sets it in its transaction: of a key that a writer of the new table
# wrote since, in a way that the old one refuses, nothing is left to make good.
SETTLING = "pgferry.settling"
DECLARATIONS = """
  pgferry_c refcursor;
  pgferry_o record;
  pgferry_more boolean := false;
  pgferry_fine jsonb[];
  pgferry_state text := '';
  pgferry_said text := '';"""


def schemas(mapping: Mapping) -> list[str]:
    """The schemas that a mapping's names stand in, each once."""
    return list(dict.fromkeys([mapping.old.schema, mapping.new.schema, *(k.relation.schema for k in mapping.lookups)]))


def pins(mapping: Mapping, facts: MappingFacts | None) -> Composed:
    """What makes a function safe to run for any role and session: definer's rights, a fixed path, fixed text forms."""
    pinned: Composed = sql.SQL(_PINS).format(path=commas(sql.Identifier(schema) for schema in schemas(mapping)))
    if facts is not None:
        keys = ((facts.old, mapping.old_key), (facts.new, mapping.new_key))
        columns = [found for side, names in keys for name in names if (found := side.column(name)) is not None]
        for setting in dict.fromkeys(_KEY_PINS[c.kind.oid] for c in columns if c.kind.oid in _KEY_PINS):
            pinned = pinned + raw(f" SET {setting}")
    return pinned


def probing(mapping: Mapping, facts: MappingFacts | None) -> Composed:
    """``pins`` of a function that carries single keys: an index is asked even where a table has but a few pages.

    A small lookup would be read whole for each row, which costs more than all the rest of the reading.
    """
    return pins(mapping, facts) + raw(" SET random_page_cost = 1")


def function(
    mapping: Mapping, what: str, arguments: Composed, returns: str, pinned: Composed, body: Composed
) -> sql.Composed:
    """CREATE OR REPLACE FUNCTION: takes no lock on any table."""
    return sql.SQL(
        "CREATE OR REPLACE FUNCTION {}({}) RETURNS {} LANGUAGE plpgsql {}\nAS $pgferry$\n{}\n$pgferry$"
    ).format(function_name(mapping, what), arguments, raw(returns), pinned, body)


def argument(i: int) -> Composed:
    """The function's argument with the key's ``i``-th column."""
    return raw(f"pgferry_k_{i}")


def arguments(owner: TableName, names: tuple[str, ...]) -> Composed:
    """The arguments of a function that is given a key."""
    return commas(
        sql.SQL("{} {}.{}%TYPE").format(argument(i), table(owner), sql.Identifier(name)) for i, name in enumerate(names)
    )


def key_values(names: tuple[str, ...]) -> dict[str, Composed]:
    """Key column -> the argument that holds its value."""
    return {name: argument(i) for i, name in enumerate(names)}


def key_is(alias: str, names: tuple[str, ...]) -> Composed:
    """``alias`` is the row with the key in the arguments."""
    return ands(sql.SQL("{} = {}").format(column(alias, n), argument(i)) for i, n in enumerate(names))


def argument_key(names: tuple[str, ...]) -> Composed:
    """The key in the arguments as jsonb of texts."""
    return sql.SQL("jsonb_build_object({})").format(
        commas(sql.SQL("{}, {}::text").format(sql.Literal(n), argument(i)) for i, n in enumerate(names))
    )


def settling() -> sql.SQL:
    """Until the transaction ends, what it carries is older than what is listed as refused by the old shape."""
    return raw(f"SET LOCAL {SETTLING} = 'on'")


def same(left: str, right: str, names: tuple[str, ...]) -> Composed:
    """The rows have the same values in these columns."""
    return ands(sql.SQL("{} = {}").format(column(left, n), column(right, n)) for n in names)


def one_version(source: TableName, names: tuple[str, ...], keys: Composed) -> Composed:
    """PL/pgSQL: refuse to go on where an older snapshot shows two rows for one of ``keys``, a SELECT of written keys.

    It does where the key's row was deleted by a transaction that committed since, and is now written anew: what the
    table holds cannot be told from what it held. The transaction is told to begin again, as such applications expect.
    Counted, not joined: a join on unique keys stops at the first row.
    """
    return sql.SQL(
        """  IF current_setting('transaction_isolation') <> 'read committed' AND EXISTS (
    SELECT 1 FROM ({}) z WHERE (SELECT count(*) FROM {} s WHERE {}) > 1
  ) THEN
    RAISE EXCEPTION 'could not serialize access due to concurrent delete' USING ERRCODE = 'serialization_failure';
  END IF;
"""
    ).format(keys, table(source), same("s", "z", names))


def no_reject(mapping: Mapping, direction: Direction, key: Composed) -> Composed:
    """No reject is noted for the key; whether any is noted at all is asked first, since to make the key's text is dear."""
    noted = sql.SQL("EXISTS (SELECT 1 FROM pgferry.reject r WHERE r.mapping = {} AND r.direction = {}").format(
        sql.Literal(mapping.id), sql.Literal(direction.value)
    )
    return sql.SQL("(NOT {noted}) OR NOT {noted} AND r.key = {key}))").format(noted=noted, key=key)


def new_key_of(mapping: Mapping, row: str) -> tuple[list[Composed], list[Composed], list[Composed]]:
    """(the values of the new key of an old row that a trigger has, FROM items of its lookups, their conditions)."""
    values: list[Composed] = []
    froms: list[Composed] = []
    where: list[Composed] = []
    for part in derive.key_parts(mapping):
        if part.lookup is None:
            values.append(column(row, part.old))
            continue
        name = part.lookup.name
        froms.append(sql.SQL("{} {}").format(table(part.lookup.relation), raw(name)))
        where += [
            sql.SQL("{} = {}").format(column(name, theirs), column(row, ours)) for theirs, ours in part.lookup.match
        ]
        values.append(column(name, part.lookup.gives))
    return values, froms, where


def lock_new(mapping: Mapping, row: str) -> Composed:
    """Lock the new row before the old ones are read, where several may stand for it: who comes second sees the first's.

    ``row`` is an old one that a trigger has. What the new one holds is in pgferry_n; pgferry_locked says if there is one.
    """
    values, froms, where = new_key_of(mapping, row)
    where += [
        sql.SQL("{} = {}").format(column("n", name), value)
        for name, value in zip(mapping.new_key, values, strict=True)
    ]  # fmt: skip
    return sql.SQL(
        "SELECT {} INTO pgferry_n FROM {} WHERE {} FOR NO KEY UPDATE OF n;\n      pgferry_locked := FOUND"
    ).format(
        commas(column("n", name) for name, _ in mapping.columns),
        commas([*froms, sql.SQL("{} n").format(table(mapping.new))]),
        ands(where),
    )


def from_json(facts: TableFacts | None, names: tuple[str, ...], alias: str, json: str) -> Composed:
    """The row ``alias`` has the key in ``json``; found by its index, where the types are known."""
    if facts is None:
        return sql.SQL("{} = {}").format(derive.key_json(alias, names), raw(json))
    types = {found.name: found.type for found in facts.columns}
    return ands(
        sql.SQL("{} = ({}->>{})::{}").format(column(alias, n), raw(json), sql.Literal(n), raw(types[n])) for n in names
    )


def reject(
    mapping: Mapping, direction: Direction, key: Composed, row: Composed, state: Composed, reason: Composed
) -> Composed:
    """Note a refused row; nothing is written when it stands there like that already."""
    return sql.SQL(
        "INSERT INTO pgferry.reject AS r (mapping, direction, key, row_data, sqlstate, reason)\n"
        "        VALUES ({}, {}, {}, {}, {}, {})\n"
        "      ON CONFLICT (mapping, direction, key) DO UPDATE SET row_data = excluded.row_data,\n"
        "        sqlstate = excluded.sqlstate, reason = excluded.reason, at = excluded.at\n"
        "      WHERE (r.row_data, r.sqlstate, r.reason)\n"
        "        IS DISTINCT FROM (excluded.row_data, excluded.sqlstate, excluded.reason)"
    ).format(sql.Literal(mapping.id), sql.Literal(direction.value), key, row, state, reason)


def unreject(mapping: Mapping, direction: Direction, key: Composed) -> Composed:
    """The row is good now, or gone."""
    return sql.SQL("DELETE FROM pgferry.reject WHERE mapping = {} AND direction = {} AND key = {}").format(
        sql.Literal(mapping.id), sql.Literal(direction.value), key
    )


def guarded(write: Composed, otherwise: Composed, *, risky: bool) -> Composed:
    """``write``; where the target could refuse for a reason no expression foretells, in a block of its own."""
    if not risky:
        return write
    return sql.SQL(
        "BEGIN\n      {};\n      EXCEPTION WHEN {} THEN\n"
        "        GET STACKED DIAGNOSTICS pgferry_state = RETURNED_SQLSTATE, pgferry_said = MESSAGE_TEXT;\n"
        "      {};\n      END"
    ).format(write, raw(WRITE), otherwise)


def risky(facts: TableFacts | None, names: list[str]) -> bool:
    """Whether a write of these columns can be refused although every expression let it pass."""
    if facts is None:
        return False
    return (
        facts.more_unique
        or facts.fickle
        or len(facts.checks_over(names)) < len(facts.checks)
        or len(facts.references_over(names)) < len(facts.foreign_keys)
        or any(c.generated for c in facts.columns)
    )


def settable(facts: TableFacts | None, names: list[str], key: tuple[str, ...]) -> list[str]:
    """What an UPDATE sets: everything but the key, unless equal keys may look different (1.0 and 1.00, a and A)."""

    def fuzzy(name: str) -> bool:
        found = facts.column(name) if facts else None
        if found is None:
            return False
        return found.loose or found.kind.oid in (700, 701, 1186) or (found.kind.oid, found.kind.typmod) == (1700, -1)

    return [name for name in names if name not in key or fuzzy(name)]


def old_order(mapping: Mapping) -> Composed:
    """Orders projected old rows by their key: the same winner everywhere."""
    return commas(raw(f"p.pgferry_old_{i}") for i in range(len(mapping.old_key)))


def evaluate(mapping: Mapping, facts: MappingFacts | None, old: TableName, into: str, rest: Composed, on_bad: Composed) -> Composed:  # fmt: skip
    """Project the old rows of the new key in the arguments; the first into ``into``, pgferry_more says if there is one.

    Expressions are evaluated in a block of their own that writes nothing, so it takes no transaction id; rows whose
    expressions fail are left out and handed to ``on_bad`` (the row is pgferry_o). ``rest`` filters and orders.
    """
    source = derive.preimage(mapping, old, key_values(mapping.new_key))
    fine = sql.SQL("(SELECT p.* FROM {} p WHERE pgferry_fine IS NULL OR {} = ANY (pgferry_fine))").format(
        source, derive.key_json("p", mapping.old_key)
    )
    projected = derive.forward(mapping, facts, fine, bulk=False)

    def query(target: str) -> Composed:
        return sql.SQL("SELECT p.*{} FROM ({} OFFSET 0) p {}").format(raw(target), projected, rest)

    first = query(f" INTO {into}")
    if derive.many_to_one(mapping):  # rows are sorted, so the first fetch evaluates them all
        first = sql.SQL(
            "OPEN pgferry_c FOR {};\n      FETCH pgferry_c INTO {};\n"
            "      IF NOT FOUND THEN\n        CLOSE pgferry_c;\n      END IF"
        ).format(query(""), raw(into))
    alone = sql.SQL("(SELECT q.* FROM {} q WHERE {})").format(
        table(old),
        ands(sql.SQL("{} = {}").format(column("q", name), column("pgferry_o", name)) for name in mapping.old_key),
    )
    return sql.SQL(
        """  LOOP
    BEGIN
      {first};
      pgferry_more := FOUND;
      EXIT;
    EXCEPTION WHEN {errors} THEN
      IF pgferry_fine IS NOT NULL THEN
        RAISE;
      END IF;
      pgferry_fine := '{{}}';
      FOR pgferry_o IN SELECT p.* FROM {source} p LOOP
        BEGIN
          PERFORM q.* FROM ({alone}) q;
          pgferry_fine := pgferry_fine || {key};
        EXCEPTION WHEN {errors} THEN
          GET STACKED DIAGNOSTICS pgferry_state = RETURNED_SQLSTATE, pgferry_said = MESSAGE_TEXT;
          {on_bad};
        END;
      END LOOP;
    END;
  END LOOP"""
    ).format(
        first=first,
        errors=raw(EVALUATION),
        source=source,
        alone=derive.forward(mapping, facts, alone, bulk=False),
        key=derive.key_json("pgferry_o", mapping.old_key),
        on_bad=on_bad,
    )


def next_row(mapping: Mapping, into: str) -> Composed:
    """After ``evaluate``: the next projected row into ``into``; the cursor is closed after the last."""
    if not derive.many_to_one(mapping):
        return raw("pgferry_more := false")
    return raw(
        f"FETCH pgferry_c INTO {into};\n    pgferry_more := FOUND;\n"
        "    IF NOT pgferry_more THEN\n      CLOSE pgferry_c;\n    END IF"
    )


def close(mapping: Mapping) -> Composed:
    """After ``evaluate``, when no further row is wanted."""
    return raw("CLOSE pgferry_c" if derive.many_to_one(mapping) else "NULL")
