"""The rules of a mapping: keys are mapped, lookups are used, each expression reads the side it may read."""

from __future__ import annotations

import re

from console.plan.build import check_name
from console.plan.model import Lookup, Mapping, Missing
from console.plan.source import Source, suggestion

Path = tuple[str | int, ...]

_ALIAS = re.compile(r"[a-z_][a-z0-9_]*")
_TEXT = re.compile(r"'(?:[^']|'')*'")
# alias.column, not a cast to schema.type and not a call of schema.function
_READ = re.compile(r'(?<![:.\w"])([a-z_][a-z0-9_]*)\s*\.\s*(?:"((?:[^"]|"")+)"|(\w+))(?!\s*\(|\w)', re.IGNORECASE)
_SUBQUERY = re.compile(r"\bselect\b", re.IGNORECASE)


def reads(expression: str) -> tuple[tuple[str, str], ...]:
    """Every ``alias.column`` an SQL expression reads, in its order."""
    found = _READ.findall(_TEXT.sub("''", expression))
    return tuple(
        (alias.lower(), quoted.replace('""', '"') if quoted else bare.lower()) for alias, quoted, bare in found
    )


def check_mapping(source: Source, mapping: Mapping, path: Path) -> None:
    """Raises PlanError at the first thing in ``mapping`` (at ``path``) that cannot work."""
    if mapping.old == mapping.new:
        raise source.fault(
            f"Mapping {mapping.id} maps {mapping.old} to itself.", *path, "new", do="Name two different tables."
        )
    _check_names(source, mapping, path)
    _check_keys(source, mapping, path)
    _check_lookups(source, mapping, path)
    for column, expression in mapping.columns:
        _check_expression(source, mapping, expression, ("o",), (*path, "columns", column))
    for column, expression in mapping.back:
        _check_expression(source, mapping, expression, ("n",), (*path, "back", column))
    for index, refusal in enumerate(mapping.refuse):
        _check_expression(source, mapping, refusal.when, ("o",), (*path, "refuse", index, "when"))
    _check_lookups_used(source, mapping, path)
    _check_key_sources(source, mapping, path)


def _check_names(source: Source, mapping: Mapping, path: Path) -> None:
    for key, names in (("columns", mapping.columns), ("back", mapping.back)):
        for column, _ in names:
            check_name(source, column, (*path, key, column))


def _check_keys(source: Source, mapping: Mapping, path: Path) -> None:
    sides = (
        ("new_key", mapping.new_key, "columns", mapping.columns),
        ("old_key", mapping.old_key, "back", mapping.back),
    )
    for key, names, table, entries in sides:
        mapped = [column for column, _ in entries]
        for index, column in enumerate(names):
            if column not in mapped:
                raise source.fault(
                    f"Mapping {mapping.id}: {key} names {column}, which {table} does not map.",
                    *path,
                    key,
                    index,
                    do=f"Add {column} to [mapping.{table}]. {suggestion(column, mapped)}",
                )


def _check_lookups(source: Source, mapping: Mapping, path: Path) -> None:
    seen: set[str] = set()
    for index, lookup in enumerate(mapping.lookups):
        place = (*path, "lookup", index, "name")
        if not _ALIAS.fullmatch(lookup.name) or lookup.name in ("o", "n"):
            raise source.fault(
                f"Mapping {mapping.id}: {lookup.name!r} cannot name a lookup.",
                *place,
                do="Use lower-case letters, digits and '_'; o and n are the old and the new row.",
            )
        if lookup.name in seen:
            raise source.fault(f"Mapping {mapping.id} has two lookups {lookup.name}.", *place, do="Rename one.")
        seen.add(lookup.name)
        _check_create(source, mapping, lookup, (*path, "lookup", index))


def _check_create(source: Source, mapping: Mapping, lookup: Lookup, path: Path) -> None:
    """``create`` and ``missing = "create"`` belong together, and it makes the row from the old row alone."""
    if (lookup.missing is Missing.CREATE) != bool(lookup.create):
        raise source.fault(
            f'Mapping {mapping.id}: the lookup {lookup.name} needs both missing = "create" and create, or neither.',
            *path,
            "create" if lookup.create else "missing",
            do="create is an SQL expression over o that calls a function which makes the missing row.",
        )
    if lookup.create and "(" not in lookup.create:
        raise source.fault(
            f"Mapping {mapping.id}: create of the lookup {lookup.name} makes no row: it calls nothing.",
            *path,
            "create",
            do=f'Call a function of yours that inserts the row into {lookup.relation}: create = "make_it(o.name)".',
        )
    if lookup.create and not _SUBQUERY.search(lookup.create):
        for alias, column in reads(lookup.create):
            if alias != "o":
                raise source.fault(
                    f"Mapping {mapping.id}: create of the lookup {lookup.name} reads {alias}.{column}, but only o is there.",
                    *path,
                    "create",
                    do="Make the row from columns of the old row o.",
                )


def _check_lookups_used(source: Source, mapping: Mapping, path: Path) -> None:
    used = {alias for _, text in (*mapping.columns, *mapping.back) for alias, _ in reads(text)}
    for index, lookup in enumerate(mapping.lookups):
        if lookup.name not in used:
            raise source.fault(
                f"Mapping {mapping.id}: no expression uses the lookup {lookup.name}.",
                *path,
                "lookup",
                index,
                "name",
                do=f"Use {lookup.name}.{lookup.gives} in columns, or remove the lookup.",
            )


def _check_expression(source: Source, mapping: Mapping, expression: str, rows: tuple[str, ...], path: Path) -> None:
    """An expression may read its own row and lookups; a subquery may have aliases of its own."""
    if _SUBQUERY.search(expression):
        return
    allowed = (*rows, *(lookup.name for lookup in mapping.lookups))
    for alias, column in reads(expression):
        if alias not in allowed:
            raise source.fault(
                f"Mapping {mapping.id}: the expression reads {alias}.{column}, but {alias} is neither its row nor"
                " a lookup.",
                *path,
                do=suggestion(alias, allowed),
            )


def _check_key_sources(source: Source, mapping: Mapping, path: Path) -> None:
    """The new key must be known from the old key alone: a deleted old row leaves nothing else behind."""
    matched = {lookup.name: [old for _, old in lookup.match] for lookup in mapping.lookups}
    expressions = dict(mapping.columns)
    for column in mapping.new_key:
        for alias, name in reads(expressions[column]):
            needed = [name] if alias == "o" else matched.get(alias, [])
            for old in needed:
                if old not in mapping.old_key:
                    raise source.fault(
                        f"Mapping {mapping.id}: the new key's {column} depends on {old}, which is not in old_key.",
                        *path,
                        "columns",
                        column,
                        do="Make the new key from old key columns and lookups on them.",
                    )
