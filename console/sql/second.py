"""sqlglot as a second reader, statement by statement: did it understand, and does it see the same tables?"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any

from console.sql.model import Readers

# Roots that are a statement; anything else (an alias, a column) is sqlglot reading words as an expression.
_REAL = (
    *("Query", "DML", "DDL", "Drop", "Alter", "TruncateTable", "Set", "Comment", "Grant", "Revoke", "Analyze"),
    *("Merge", "Copy"),
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
    if isinstance(tree, (exp.Create, exp.Drop, exp.Alter)):
        return str(tree.args.get("kind", "")).upper() in _COMPARED
    return isinstance(tree, (exp.Query, exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.TruncateTable))


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
        theirs = {table.name.lower() for table in tree.find_all(exp.Table)} - ctes
        return Readers(understood, "parsed", theirs == ours)
    except Exception:  # a second opinion must never stop the first
        return Readers(understood, "failed", None)
