"""A mapping's declaration turned into SQL: projections in both directions, the functions and the triggers.

The sync is state-based: for each key touched, the target is made to hold what the source holds now. An echo finds
nothing to change and stops, so no loop guard is needed (twelve scenarios where delta-based guards fail were measured).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg import sql

from console.engine.facts import MappingFacts, TableFacts
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
        text = expressions[name].replace('"', "").strip()
        alias, _, rest = text.partition(".")
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


def lookup_join(lookup: Lookup, *, bulk: bool) -> Composed:
    """The join that resolves an old row ``o``: whole relations at once (``bulk``) or one probe for each row."""
    match = ands(sql.SQL("r.{} = {}").format(sql.Identifier(c), column("o", old)) for c, old in lookup.match)
    if not bulk:
        return sql.SQL(
            "LEFT JOIN LATERAL (SELECT r.*, count(*) OVER () AS pgferry_n FROM {} r WHERE {} LIMIT 1) {} ON true"
        ).format(table(lookup.relation), match, raw(lookup.name))
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


def _size_limits(facts: TableFacts, names: Iterable[str]) -> list[tuple[Composed, str]]:
    """Conditions under which a value would not fit its column, with the reason."""
    limits: list[tuple[Composed, str]] = []
    for name in names:
        found = facts.column(name)
        if found is None:
            continue
        if found.not_null:
            limits.append((sql.SQL("{} IS NULL").format(column("x", name)), f"{name} must not be null"))
        base, _, rest = found.type.partition("(")
        if base in ("character varying", "character") and rest:
            length = rest.rstrip(")")
            limits.append(
                (
                    sql.SQL("char_length({}::text) > {}").format(column("x", name), raw(length)),
                    f"{name} is longer than {length} characters",
                )
            )
    return limits


def _refusals(mapping: Mapping, facts: MappingFacts | None) -> Composed:
    """The CASE that says why the new shape refuses a projected old row ``x``; NULL when it takes it."""
    whens: list[Composed] = []

    def refuse(condition: Composed, reason: str) -> None:
        whens.append(sql.SQL("WHEN {} THEN {}").format(condition, sql.Literal(reason)))

    for index, refusal in enumerate(mapping.refuse):
        refuse(column("x", f"pgferry_refuse_{index}"), refusal.reason)
    for lookup in mapping.lookups:
        what = ", ".join(old for _, old in lookup.match)
        counter = column("x", f"pgferry_n_{lookup.name}")
        refuse(sql.SQL("{} IS NULL").format(counter), f"{what}: nothing matches in {lookup.relation}")
        refuse(sql.SQL("{} > 1").format(counter), f"{what}: several match in {lookup.relation}")
    if facts is not None:
        names = [name for name, _ in mapping.columns]
        for condition, reason in _size_limits(facts.new, names):
            refuse(condition, reason)
        for name, expression in facts.new.checks_over(names):
            refuse(sql.SQL("({}) IS FALSE").format(raw(expression)), f"constraint {name} of {facts.new.name}")
    if not whens:
        return sql.SQL("NULL::text")
    return sql.SQL("CASE {} END").format(sql.SQL(" ").join(whens))


def forward(mapping: Mapping, facts: MappingFacts | None, source: Composed, *, bulk: bool) -> Composed:
    """SELECT over old rows (``source`` is a FROM item that is given the alias ``o``).

    Yields the new columns by name, pgferry_old_<i> (the old key), pgferry_canonical, pgferry_source (the old
    row itself) and pgferry_reason (NULL when the new shape takes the row).
    ``bulk`` joins whole lookups (hash joins), else each row probes them.
    """
    items: list[Composed] = [
        sql.SQL("{} AS {}").format(raw(expr), sql.Identifier(name)) for name, expr in mapping.columns
    ]
    items += [
        sql.SQL("{} AS {}").format(column("o", name), sql.Identifier(f"pgferry_old_{i}"))
        for i, name in enumerate(mapping.old_key)
    ]
    items += [
        sql.SQL("{}.pgferry_n AS {}").format(raw(lk.name), sql.Identifier(f"pgferry_n_{lk.name}"))
        for lk in mapping.lookups
    ]
    items += [
        sql.SQL("({}) AS {}").format(raw(refusal.when), sql.Identifier(f"pgferry_refuse_{i}"))
        for i, refusal in enumerate(mapping.refuse)
    ]
    canonical = [sql.SQL("coalesce({}, false)").format(column(lk.name, lk.canonical)) for lk in mapping.lookups]
    items.append(sql.SQL("({}) AS pgferry_canonical").format(ands(canonical) if canonical else sql.SQL("true")))
    items.append(sql.SQL("o AS pgferry_source"))
    joins = sql.SQL(" ").join([lookup_join(lk, bulk=bulk) for lk in mapping.lookups])
    return sql.SQL("SELECT x.*, {reason} AS pgferry_reason FROM (SELECT {items} FROM {source} o {joins}) x").format(
        reason=_refusals(mapping, facts), items=commas(items), source=source, joins=joins
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
    expressions = {expr.replace('"', "").strip(): name for name, expr in mapping.columns}
    joins: list[Composed] = []
    for lookup in mapping.lookups:
        name = expressions.get(f"{lookup.name}.{lookup.gives}")
        if name is None:
            raise PlanError(f"Mapping {mapping.id}: no new column holds {lookup.name}.{lookup.gives}; no way back.")
        joins.append(
            sql.SQL(
                "LEFT JOIN LATERAL (SELECT r.*, count(*) OVER () AS pgferry_n FROM {} r WHERE {} = {} AND {} LIMIT 1)"
                " {} ON true"
            ).format(
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
    expressions = {expr.replace('"', "").strip(): name for name, expr in mapping.columns}
    back = {name: expr.replace('"', "").strip() for name, expr in mapping.back}
    found = {}
    for lookup in mapping.lookups:
        resolved = expressions.get(f"{lookup.name}.{lookup.gives}")
        for theirs, old in lookup.match:
            if resolved is not None and back.get(old) == f"{lookup.name}.{theirs}":
                found[old] = resolved
    return found


def backward(mapping: Mapping, facts: MappingFacts | None, where: Composed) -> Composed:
    """SELECT over new rows ``n`` that meet ``where``: the old columns by name and pgferry_reason (why old refuses)."""
    items = [sql.SQL("{} AS {}").format(raw(expr), sql.Identifier(name)) for name, expr in mapping.back]
    items += [sql.SQL("{}.pgferry_n AS {}").format(raw(k.name), raw(f"pgferry_n_{k.name}")) for k in mapping.lookups]
    whens: list[Composed] = []
    for lookup in mapping.lookups:
        reason = f"no canonical row in {lookup.relation} leads back"
        whens.append(
            sql.SQL("WHEN {} IS DISTINCT FROM 1 THEN {}").format(
                column("x", f"pgferry_n_{lookup.name}"), sql.Literal(reason)
            )
        )
    if facts is not None:
        conditions = _size_limits(facts.old, [name for name, _ in mapping.back])
        conditions += [
            (sql.SQL("({}) IS FALSE").format(raw(expression)), f"constraint {name} of {facts.old.name}")
            for name, expression in facts.old.checks_over([n for n, _ in mapping.back])
        ]
        whens += [sql.SQL("WHEN {} THEN {}").format(c, sql.Literal(reason)) for c, reason in conditions]
    reason_sql = sql.SQL("CASE {} END").format(sql.SQL(" ").join(whens)) if whens else sql.SQL("NULL::text")
    return sql.SQL("SELECT x.*, {} AS pgferry_reason FROM (SELECT {} FROM {} n {} WHERE {}) x").format(
        reason_sql, commas(items), table(mapping.new), back_lookups(mapping), where
    )
