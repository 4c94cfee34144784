"""sqlglot as a second reader, statement by statement: did it understand, and does it see the same tables?"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any

from postgast import pg_query_pb2 as pb

from console.sql.grammar import parse
from console.sql.model import Readers

# Roots that are a statement; anything else (an alias, a column) is sqlglot reading words as an expression.
_REAL = (
    *("Query", "DML", "DDL", "Drop", "Alter", "TruncateTable", "Set", "Comment", "Grant", "Revoke", "Analyze"),
    *("Merge", "Copy"),
)
_RELATIONS = frozenset(
    {pb.OBJECT_TABLE, pb.OBJECT_INDEX, pb.OBJECT_VIEW, pb.OBJECT_MATVIEW, pb.OBJECT_SEQUENCE, pb.OBJECT_FOREIGN_TABLE}
)
_COMPARED = frozenset({"TABLE", "INDEX", "VIEW"})


@lru_cache(maxsize=1)
def _sqlglot() -> Any:
    """The library, loaded when it is first needed: it takes a moment. Its log would tear the screen."""
    import sqlglot

    logger = logging.getLogger("sqlglot")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    logger.setLevel(logging.CRITICAL)
    return sqlglot


def _last(name: str) -> str:
    return name.rsplit(".", 1)[-1].lower()


def _comparable(tree: Any, exp: Any) -> bool:
    if isinstance(tree, exp.Drop) and str(tree.args.get("kind", "")).upper() == "INDEX":
        return False  # the table is in the catalogue
    if isinstance(tree, (exp.Create, exp.Drop, exp.Alter)):
        return str(tree.args.get("kind", "")).upper() in _COMPARED
    return isinstance(tree, (exp.Query, exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.TruncateTable))


def _asides(tree: Any, renamed: Any, exp: Any) -> list[Any]:
    """Parts whose names sqlglot keeps as tables though they are none: a new name, a constraint or column that goes."""
    inside = [drop for drop in tree.find_all(exp.Drop) if drop is not tree]
    return inside if renamed is None else [*inside, renamed]


def _renames_relation(sql: str) -> bool:
    """Whether PostgreSQL's grammar reads a RENAME of the relation itself."""
    (raw,) = parse(sql)
    return bool(raw.stmt.HasField("rename_stmt") and raw.stmt.rename_stmt.rename_type in _RELATIONS)


def second_reading(sql: str, tables: tuple[str, ...], *, understood: bool = True) -> Readers:
    """How sqlglot reads ``sql``; ``tables`` are those that PostgreSQL's grammar names in it. Never raises.

    ``agree`` is None where the two cannot be compared.
    """
    try:
        sqlglot = _sqlglot()
        exp: Any = sqlglot.exp
        tree: Any = sqlglot.parse_one(sql, read="postgres")
        kinds: Any = tuple(getattr(exp, name) for name in _REAL)
        if not isinstance(tree, kinds) or tree.find(exp.Command) is not None:
            return Readers(understood, "opaque", None)
        if not understood or not _comparable(tree, exp):
            return Readers(understood, "parsed", None)
        ours = {_last(name) for name in tables}
        ctes = {cte.alias_or_name.lower() for cte in tree.find_all(exp.CTE)}
        if ctes & ours:
            return Readers(understood, "parsed", None)
        if (renamed := tree.find(exp.AlterRename)) is not None and not _renames_relation(sql):
            return Readers(understood, "parsed", False)
        aside = {id(table) for part in _asides(tree, renamed, exp) for table in part.find_all(exp.Table)}
        theirs = {table.name.lower() for table in tree.find_all(exp.Table) if id(table) not in aside} - ctes
        return Readers(understood, "parsed", theirs == ours)
    except Exception:  # a second opinion must never stop the first
        return Readers(understood, "failed", None)
