"""A mapping's declaration turned into SQL: projections in both directions, the functions and the triggers.

The sync is state-based: for each key touched, the target is made to hold what the source holds now. An echo finds
nothing to change and stops, so no loop guard is needed (twelve scenarios where delta-based guards fail were measured).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from psycopg import sql

from console.engine import fit
from console.engine.facts import Kind, MappingFacts, TableFacts
from console.engine.fit import Test
from console.errors import PlanError
from console.plan.model import Lookup, Mapping, TableName

Composed = sql.Composable
MAX_DEPTH = 8  # nested triggers beyond this are a self-stamping pair, not a sync


def raw(text: str) -> sql.SQL:
    """SQL text of the plan's author or of this module, used as it stands."""
    return sql.SQL(text)


def table(name: TableName) -> sql.Identifier:
    """A table, always with its schema."""
    return sql.Identifier(name.schema, name.name)


def column(alias: str, name: str) -> Composed:
    """``alias."name"``."""
    return sql.SQL("{}.{}").format(raw(alias), sql.Identifier(name))


def commas(parts: Iterable[Composed]) -> Composed:
    """Parts with commas between."""
    return sql.SQL(", ").join(list(parts))


def ands(parts: Iterable[Composed]) -> Composed:
    """Parts with AND between."""
    return sql.SQL(" AND ").join(list(parts))


_PLAIN = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_]*)\s*\.\s*(?:"((?:[^"]|"")+)"|([^\W\d][\w$]*))\s*')


def plain(expression: str) -> tuple[str, str]:
    """(alias, column) of an expression that is just a column, as the catalogue spells it; else two empty texts."""
    found = _PLAIN.fullmatch(expression)
    if found is None:
        return "", ""
    alias, quoted, bare = found.groups()
    return alias.lower(), quoted.replace('""', '"') if quoted else bare.lower()


@dataclass(frozen=True, slots=True)
class KeyPart:
    """Where a new key column comes from: an old column as it is, or a lookup's result."""

    new: str
    old: str = ""
    lookup: Lookup | None = None


def key_parts(mapping: Mapping) -> tuple[KeyPart, ...]:
    """How each new key column is made. Raises PlanError when it is neither an old column nor a lookup's result."""
    expressions = dict(mapping.columns)
    parts = []
    for name in mapping.new_key:
        alias, rest = plain(expressions[name])
        lookup = next((lk for lk in mapping.lookups if lk.name == alias and lk.gives == rest), None)
        if alias == "o" and rest in mapping.old_key:
            parts.append(KeyPart(name, old=rest))
        elif lookup is not None:
            strange = [old for _, old in lookup.match if old not in mapping.old_key]
            if strange:
                raise PlanError(f"Mapping {mapping.id}: the new key depends on {strange[0]}, which is not in old_key.")
            parts.append(KeyPart(name, lookup=lookup))
        else:
            raise PlanError(
                f"Mapping {mapping.id}: new key column {name} must be o.<key column> or <lookup>.<gives>, "
                f"not {expressions[name]}."
            )
    return tuple(parts)


def shared_lead(mapping: Mapping) -> tuple[str, str] | None:
    """(old, new) column that leads both keys and is carried as it is: lets both tables be cut alike."""
    first = key_parts(mapping)[0]
    return (first.old, first.new) if first.old and first.old == mapping.old_key[0] else None


def key_json(alias: str, names: Iterable[str]) -> Composed:
    """The key as jsonb of texts; sessions that use it pin TimeZone and DateStyle."""
    return sql.SQL("jsonb_build_object({})").format(
        commas(sql.SQL("{}, {}::text").format(sql.Literal(n), column(alias, n)) for n in names)
    )


def _match(lookup: Lookup) -> Composed:
    return ands(sql.SQL("r.{} = {}").format(sql.Identifier(c), column("o", old)) for c, old in lookup.match)


def lookup_join(lookup: Lookup, *, bulk: bool) -> Composed:
    """The join that resolves an old row ``o``: whole relations at once (``bulk``) or one probe for each row."""
    if not bulk:
        return sql.SQL(
            "LEFT JOIN LATERAL (SELECT r.*, count(*) OVER () AS pgferry_n FROM {} r WHERE {} LIMIT 1) {} ON true"
        ).format(table(lookup.relation), _match(lookup), raw(lookup.name))
    columns = commas(column("r", c) for c, _ in lookup.match)
    return sql.SQL(
        "LEFT JOIN (SELECT DISTINCT ON ({cols}) r.*, count(*) OVER (PARTITION BY {cols}) AS pgferry_n FROM {rel} r)"
        " {name} ON {match}"
    ).format(
        cols=columns,
        rel=table(lookup.relation),
        name=raw(lookup.name),
        match=ands(
            sql.SQL("{} = {}").format(column(lookup.name, c), column("o", old)) for c, old in lookup.match
        ),
    )  # fmt: skip


def many_to_one(mapping: Mapping) -> bool:
    """Whether several old rows may stand for one new key (two spellings of a name, say)."""
    parts = key_parts(mapping)
    return any(part.lookup for part in parts) or {part.old for part in parts} != set(mapping.old_key)


def forward_tests(mapping: Mapping, facts: MappingFacts | None) -> tuple[list[Test], list[Test]]:
    """Why the new shape refuses a projected old row ``x``: told before the values are cast, and after."""
    first = [
        Test(column("x", f"pgferry_refuse_{index}"), "P0001", refusal.reason)
        for index, refusal in enumerate(mapping.refuse)
    ]
    for lookup in mapping.lookups:
        what = ", ".join(old for _, old in lookup.match)
        counter = column("x", f"pgferry_n_{lookup.name}")
        first += [
            Test(sql.SQL("{} IS NULL").format(counter), "P0002", f"{what}: nothing matches in {lookup.relation}"),
            Test(sql.SQL("{} > 1").format(counter), "P0003", f"{what}: several match in {lookup.relation}"),
        ]
    return _with_table(first, facts.new if facts else None, mapping.columns, facts.columns if facts else (), facts)


def backward_tests(mapping: Mapping, facts: MappingFacts | None) -> tuple[list[Test], list[Test]]:
    """Why the old shape refuses a projected new row ``x``: told before the values are cast, and after."""
    first = [
        Test(
            sql.SQL("{} IS DISTINCT FROM 1").format(column("x", f"pgferry_n_{lookup.name}")),
            "P0002",
            f"no canonical row in {lookup.relation} leads back",
        )
        for lookup in mapping.lookups
    ]
    first += [  # the row would not be found again by what the way back writes
        Test(
            sql.SQL("{} > 1").format(column("x", f"pgferry_m_{lookup.name}")),
            "P0003",
            f"the canonical row in {lookup.relation} is not the only one with its values",
        )
        for lookup in mapping.lookups
    ]
    return _with_table(first, facts.old if facts else None, mapping.back, facts.back if facts else (), facts)


def _with_table(
    first: list[Test],
    goal: TableFacts | None,
    entries: tuple[tuple[str, str], ...],
    yields: tuple[tuple[str, Kind], ...],
    facts: MappingFacts | None,
) -> tuple[list[Test], list[Test]]:
    if goal is None or facts is None:
        return first, []
    came, names = dict(yields), [name for name, _ in entries]
    for name in names:
        found = goal.column(name)
        if found is not None:
            first = first + fit.before(found, column("x", name), came.get(name), facts.server)
    return first, fit.after(goal, names, "x")


def state_of(tests: tuple[list[Test], list[Test]], reason: Composed) -> Composed:
    """The SQLSTATE that belongs to a reason of these tests."""
    states = {test.reason: test.state for part in tests for test in part}
    if not states:
        return sql.SQL("''")
    whens = [sql.SQL("WHEN {} THEN {}").format(sql.Literal(r), sql.Literal(s)) for r, s in states.items()]
    return sql.SQL("CASE {} {} ELSE '' END").format(reason, sql.SQL(" ").join(whens))


def _case(tests: list[Test]) -> Composed:
    if not tests:
        return sql.SQL("NULL::text")
    whens = [sql.SQL("WHEN {} THEN {}").format(test.when, sql.Literal(test.reason)) for test in tests]
    return sql.SQL("CASE {} END").format(sql.SQL(" ").join(whens))


def _judged(
    inner: Composed,
    others: list[str],
    tests: tuple[list[Test], list[Test]],
    goal: TableFacts | None,
    entries: tuple[tuple[str, str], ...],
    came: dict[str, Kind],
    server: int,
) -> Composed:
    """The projection ``inner`` with its values in the column's types, and pgferry_reason beside them.

    Values that are of the right type already are judged in one step; else casts come between the tests of what is
    given and the tests of what is made of it.
    """
    found = {name: goal.column(name) if goal else None for name, _ in entries}
    if not any(c is not None and fit.needs_cast(c, came.get(name)) for name, c in found.items()):
        return sql.SQL("SELECT x.*, {} AS pgferry_reason FROM ({}) x").format(_case(tests[0] + tests[1]), inner)
    items = []
    for name, c in found.items():
        value = column("x", name)
        if c is not None and fit.needs_cast(c, came.get(name)):
            value = sql.SQL("{} AS {}").format(fit.cast(c, value, came.get(name), server), sql.Identifier(name))
        items.append(value)
    items += [column("x", name) for name in others]
    return sql.SQL(
        "SELECT x.*, coalesce(x.pgferry_unfit, {after}) AS pgferry_reason FROM (SELECT {items}, {before} AS pgferry_unfit"
        " FROM ({inner}) x) x"
    ).format(after=_case(tests[1]), items=commas(items), before=_case(tests[0]), inner=inner)


def forward(mapping: Mapping, facts: MappingFacts | None, source: Composed, *, bulk: bool) -> Composed:
    """SELECT over old rows (``source`` is a FROM item that is given the alias ``o``).

    Yields the new columns by name (in their columns' types, when the facts are known), pgferry_old_<i> (the old key),
    pgferry_canonical, pgferry_source (the old row itself) and pgferry_reason (NULL when the new shape takes the row).
    ``bulk`` joins whole lookups (hash joins), else each row probes them.
    """
    hidden = facts is not None and facts.old.column("o") is not None  # a bare o would be that column
    if hidden:
        source = sql.SQL("(SELECT pgferry_z.*, pgferry_z AS pgferry_row FROM {} pgferry_z)").format(source)
    canonical = [sql.SQL("coalesce({}, false)").format(column(lk.name, lk.canonical)) for lk in mapping.lookups]
    others: list[tuple[str, Composed]] = [
        *_old_key(mapping),
        *_for_tests(mapping),
        ("pgferry_canonical", sql.SQL("({})").format(ands(canonical) if canonical else sql.SQL("true"))),
        ("pgferry_source", raw("o.pgferry_row" if hidden else "o")),
    ]
    joins = [lookup_join(lookup, bulk=bulk) for lookup in mapping.lookups]
    return _projected(mapping, facts, source, others, joins)


def lean(mapping: Mapping, facts: MappingFacts | None, source: Composed, *, there: bool = False) -> Composed:
    """Like ``forward``, without pgferry_canonical and pgferry_source, for a statement that is run for each row.

    Such a statement costs most while it is set up, so it has few expressions and no window. A value that resolves to
    several is not told by its reason: the row comes several times, and who reads must refuse that. ``there``: for
    rows that are compared with what the new table holds, so what it demands of a row needs no test.
    """
    joins: list[Composed] = [
        sql.SQL("LEFT JOIN LATERAL (SELECT r.*, 1 AS pgferry_n FROM {} r WHERE {}) {} ON true").format(
            table(lookup.relation), _match(lookup), raw(lookup.name)
        )
        for lookup in mapping.lookups
    ]
    return _projected(mapping, facts, source, [*_old_key(mapping), *_for_tests(mapping)], joins, there=there)


def _old_key(mapping: Mapping) -> list[tuple[str, Composed]]:
    return [(f"pgferry_old_{i}", column("o", name)) for i, name in enumerate(mapping.old_key)]


def _for_tests(mapping: Mapping) -> list[tuple[str, Composed]]:
    return [
        *((f"pgferry_n_{lk.name}", sql.SQL("{}.pgferry_n").format(raw(lk.name))) for lk in mapping.lookups),
        *((f"pgferry_refuse_{i}", sql.SQL("({})").format(raw(r.when))) for i, r in enumerate(mapping.refuse)),
    ]


def _projected(
    mapping: Mapping, facts: MappingFacts | None, source: Composed, others: list[tuple[str, Composed]],
    joins: list[Composed], *, there: bool = False,
) -> Composed:  # fmt: skip
    items = [sql.SQL("{} AS {}").format(raw(expr), sql.Identifier(name)) for name, expr in mapping.columns]
    items += [sql.SQL("{} AS {}").format(value, sql.Identifier(name)) for name, value in others]
    inner = sql.SQL("SELECT {} FROM {} o {}").format(commas(items), source, sql.SQL(" ").join(joins))
    return _judged(
        inner,
        [name for name, _ in others],
        forward_tests(mapping, None if there else facts),
        facts.new if facts else None,
        mapping.columns,
        dict(facts.columns) if facts else {},
        facts.server if facts else 0,
    )


def projected_key(mapping: Mapping, alias: str) -> Composed:
    """The old key as jsonb, from a row of ``forward``."""
    return sql.SQL("jsonb_build_object({})").format(
        commas(
            sql.SQL("{}, {}::text").format(sql.Literal(name), column(alias, f"pgferry_old_{i}"))
            for i, name in enumerate(mapping.old_key)
        )
    )


def preimage(mapping: Mapping, old: TableName, key: dict[str, Composed]) -> Composed:
    """FROM item: the old rows whose new key is ``key`` (new key column -> SQL value)."""
    joins: list[Composed] = []
    where: list[Composed] = []
    for i, part in enumerate(key_parts(mapping)):
        value = key[part.new]
        if part.lookup is None:
            where.append(sql.SQL("{} = {}").format(column("p", part.old), value))
            continue
        alias = f"k{i}"
        on = ands(sql.SQL("{} = {}").format(column("p", o), column(alias, c)) for c, o in part.lookup.match)
        joins.append(sql.SQL("JOIN {} {} ON {}").format(table(part.lookup.relation), raw(alias), on))
        where.append(sql.SQL("{} = {}").format(column(alias, part.lookup.gives), value))
    return sql.SQL("(SELECT p.* FROM {} p {} WHERE {})").format(table(old), sql.SQL(" ").join(joins), ands(where))


def back_lookups(mapping: Mapping) -> Composed:
    """The joins that give each lookup's canonical row for a new row ``n``."""
    expressions = {plain(expr): name for name, expr in mapping.columns}
    joins: list[Composed] = []
    for lookup in mapping.lookups:
        name = expressions.get((lookup.name, lookup.gives))
        if name is None:
            raise PlanError(f"Mapping {mapping.id}: no new column holds {lookup.name}.{lookup.gives}; no way back.")
        joins.append(
            sql.SQL(
                "LEFT JOIN LATERAL (SELECT r.*, count(*) OVER () AS pgferry_n, (SELECT count(*) FROM {} s WHERE {})"
                " AS pgferry_m FROM {} r WHERE {} = {} AND {} LIMIT 1) {} ON true"
            ).format(
                table(lookup.relation),
                ands(sql.SQL("{} = {}").format(column("s", c), column("r", c)) for c, _ in lookup.match),
                table(lookup.relation),
                column("r", lookup.gives),
                column("n", name),
                column("r", lookup.canonical),
                raw(lookup.name),
            )
        )
    return sql.SQL(" ").join(joins)


def spellings(mapping: Mapping) -> dict[str, str]:
    """Old columns that the way back takes from a lookup -> the new column that says what they resolve to.

    While that stays the same an old row keeps its own spelling; the canonical one is for rows that are new to it.
    """
    expressions = {plain(expr): name for name, expr in mapping.columns}
    back = {name: plain(expr) for name, expr in mapping.back}
    found = {}
    for lookup in mapping.lookups:
        resolved = expressions.get((lookup.name, lookup.gives))
        for theirs, old in lookup.match:
            if resolved is not None and back.get(old) == (lookup.name, theirs):
                found[old] = resolved
    return found


def backward(mapping: Mapping, facts: MappingFacts | None, where: Composed) -> Composed:
    """SELECT over new rows ``n`` that meet ``where``: the old columns by name and pgferry_reason (why old refuses)."""
    counters = [
        (f"pgferry_{count}_{k.name}", sql.SQL("{}.pgferry_{}").format(raw(k.name), raw(count)))
        for k in mapping.lookups
        for count in ("n", "m")
    ]
    items = [sql.SQL("{} AS {}").format(raw(expr), sql.Identifier(name)) for name, expr in mapping.back]
    items += [sql.SQL("{} AS {}").format(value, sql.Identifier(name)) for name, value in counters]
    inner = sql.SQL("SELECT {} FROM {} n {} WHERE {}").format(
        commas(items), table(mapping.new), back_lookups(mapping), where
    )
    return _judged(
        inner,
        [name for name, _ in counters],
        backward_tests(mapping, facts),
        facts.old if facts else None,
        mapping.back,
        dict(facts.back) if facts else {},
        facts.server if facts else 0,
    )


def differ(left: str, right: str, names: Iterable[str], goal: TableFacts | None) -> Composed:
    """Whether two rows differ in these columns, byte for byte: types without equality (json, xml, point) and equal
    values of different looks (1.0 and 1.00, -0 and 0, letters of a collation that ignores case) are told apart.

    Domains are compared as the types below them: both sides must be of the same types.
    """
    pairs = []
    for name in names:
        found = goal.column(name) if goal else None
        as_base = sql.SQL("::{}").format(raw(found.base)) if found is not None and found.base != found.type else raw("")
        pairs.append((column(left, name) + as_base, column(right, name) + as_base))
    return sql.SQL("pg_catalog.record_image_ne(ROW({}), ROW({}))").format(
        commas(a for a, _ in pairs), commas(b for _, b in pairs)
    )
