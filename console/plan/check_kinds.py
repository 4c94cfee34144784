"""The kinds of checks that a plan declares by name and settings, without writing their SQL: what each one needs.

In a file of checks a header with ``kind:`` declares one. ``latency`` and ``uses index`` stand above a query, the
others above nothing. Everything passes or fails; the engine makes the SQL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from console.plan.names import TableName

_PART = r'(?:"((?:[^"]|"")+)"|([^".,()\s]+))'
_TABLE = re.compile(rf"{_PART}(?:\.{_PART})?")
_COLUMN = re.compile(_PART)
_REFERENCE = re.compile(r"(?P<table>.+?)\s*\((?P<columns>[^()]+)\)")
_SPLIT = re.compile(r',\s*(?=(?:[^"]*"[^"]*")*[^"]*$)')  # commas outside of double quotes


class KindFault(ValueError):
    """A setting that cannot be used: ``key`` names it (empty: one is missing), ``do`` says what to write."""

    def __init__(self, what: str, key: str = "", do: str = "") -> None:
        self.what = what
        self.key = key
        self.do = do
        super().__init__(what)


@dataclass(frozen=True, slots=True)
class EqualCounts:
    """Both tables have as many rows, in one snapshot."""

    first: TableName
    second: TableName

    def __str__(self) -> str:
        return f"as many rows in {self.first} as in {self.second}"


@dataclass(frozen=True, slots=True)
class Orphans:
    """No row of ``table`` whose ``columns``, none of them NULL, are not in ``references``."""

    table: TableName
    columns: tuple[str, ...]
    references: TableName
    referenced: tuple[str, ...]

    def __str__(self) -> str:
        return f"every {', '.join(self.columns)} of {self.table} in {self.references}"


@dataclass(frozen=True, slots=True)
class Duplicates:
    """No two rows of ``table`` with the same ``columns``; rows with a NULL in them are no duplicates."""

    table: TableName
    columns: tuple[str, ...]

    def __str__(self) -> str:
        return f"{', '.join(self.columns)} of {self.table} once each"


@dataclass(frozen=True, slots=True)
class ValidConstraints:
    """Every constraint of the tables is validated (and, from 18 on, enforced)."""

    tables: tuple[TableName, ...]

    def __str__(self) -> str:
        return "every constraint validated"


@dataclass(frozen=True, slots=True)
class ValidIndexes:
    """Every index of the tables is valid, ready and live."""

    tables: tuple[TableName, ...]

    def __str__(self) -> str:
        return "every index valid"


@dataclass(frozen=True, slots=True)
class UnambiguousMapping:
    """Each value resolves to one row of its lookup, and each result has one canonical spelling."""

    mapping: str

    def __str__(self) -> str:
        return "every value resolves to one row, one spelling canonical"


@dataclass(frozen=True, slots=True)
class SequencesAhead:
    """The next value of each sequence that fills a column of the tables is beyond the column's largest."""

    tables: tuple[TableName, ...]

    def __str__(self) -> str:
        return "every sequence ahead of its column"


@dataclass(frozen=True, slots=True)
class FreshStatistics:
    """The tables were analysed, and not more than ``percent`` of their rows changed since."""

    tables: tuple[TableName, ...]
    percent: float

    def __str__(self) -> str:
        return f"analysed, at most {self.percent:g} % changed since"


@dataclass(frozen=True, slots=True)
class UsesIndex:
    """The planner reads ``table`` in the check's query by an index: by this one, where it is named."""

    table: TableName
    index: str

    def __str__(self) -> str:
        return f"{self.table} read by {self.index or 'an index'}"


@dataclass(frozen=True, slots=True)
class Latency:
    """A percentile of the check's query, run ``rounds`` times, as a client sees it; milliseconds.

    ``budget_ms``: no more than that. ``record``: the first figure of a run under this name is its baseline. ``baseline``:
    no slower than that figure by more than ``tolerance_percent`` and ``slack_ms``. ``beside``: another latency check
    whose query is run in turns with this one; no slower than it by more than that. None and empty: not asked.
    """

    rounds: int
    percentile: float
    budget_ms: float | None
    record: str
    baseline: str
    beside: str
    tolerance_percent: float
    slack_ms: float

    def __str__(self) -> str:
        words = [] if self.budget_ms is None else [f"at most {self.budget_ms:g} ms"]
        within = f"by at most {self.tolerance_percent:g} % and {self.slack_ms:g} ms"
        words += [f"slower than {self.beside} {within}"] if self.beside else []
        words += [f"slower than the baseline {self.baseline} {within}"] if self.baseline else []
        words += [f"recorded as {self.record}"] if self.record else []
        return f"p{self.percentile:g} {', '.join(words)}"


@dataclass(frozen=True, slots=True)
class Size:
    """The table with its indexes is at most ``megabytes`` large, or ``percent`` of ``against``, each row for row."""

    table: TableName
    megabytes: float | None
    against: TableName | None
    percent: float

    def __str__(self) -> str:
        if self.megabytes is not None:
            return f"at most {self.megabytes:g} MB"
        return f"a row at most {self.percent:g} % of a row of {self.against}"


@dataclass(frozen=True, slots=True)
class Quiet:
    """The server counts no scan and no write of the tables for ``seconds``; what a sync does there counts too."""

    tables: tuple[TableName, ...]
    seconds: int

    def __str__(self) -> str:
        return f"no traffic for {self.seconds} s"


Spec = (
    EqualCounts | Orphans | Duplicates | ValidConstraints | ValidIndexes | UnambiguousMapping | SequencesAhead
    | FreshStatistics | UsesIndex | Latency | Size | Quiet
)  # fmt: skip


class _Settings:
    """A header's settings, read by type."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def text(self, key: str) -> str:
        if key not in self._values:
            raise KindFault(f"{key} is missing.", do=f"Add '-- {key}: ...'.")
        return self._values[key]

    def optional(self, key: str) -> str:
        return self._values.get(key, "")

    def table(self, key: str) -> TableName:
        return _table(self.text(key), key)

    def tables(self) -> tuple[TableName, ...]:
        return tuple(_table(part, "tables") for part in _SPLIT.split(self.text("tables")))

    def columns(self) -> tuple[str, ...]:
        return _columns(self.text("columns"), "columns")

    def number(self, key: str, default: float | None, least: float, most: float = 1e12) -> float:
        if key not in self._values and default is not None:
            return default
        text = self.text(key)
        try:
            value = Decimal(text)
        except InvalidOperation:
            value = Decimal("NaN")
        if not value.is_finite() or not least <= value <= most:
            limits = f"from {least:g} to {most:g}" if most < 1e12 else f"at least {least:g}"
            raise KindFault(f"{key} is {text!r}, it must be a number, {limits}.", key)
        return float(value)


def _names(found: re.Match[str]) -> list[str]:
    groups = found.groups()
    pairs = [groups[i : i + 2] for i in range(0, len(groups), 2)]
    return [quoted.replace('""', '"') if quoted else bare for quoted, bare in pairs if quoted or bare]


def _table(text: str, key: str) -> TableName:
    found = _TABLE.fullmatch(text.strip())
    if found is None:
        raise KindFault(f"{text!r} names no table.", key, 'Write "table" or "schema.table".')
    names = _names(found)
    return TableName(*names) if len(names) == 2 else TableName("public", names[0])


def _columns(text: str, key: str) -> tuple[str, ...]:
    names = []
    for part in _SPLIT.split(text):
        found = _COLUMN.fullmatch(part.strip())
        if found is None:
            raise KindFault(f"{part.strip()!r} names no column.", key, "Write names with commas between them.")
        names += _names(found)
    return tuple(names)


def _equal_counts(settings: _Settings) -> Spec:
    tables = settings.tables()
    if len(tables) != 2:
        raise KindFault(f"tables names {len(tables)} tables, not two.", "tables")
    return EqualCounts(*tables)


def _orphans(settings: _Settings) -> Spec:
    columns, text = settings.columns(), settings.text("references")
    found = _REFERENCE.fullmatch(text)
    if found is None:
        raise KindFault(f"{text!r} is no reference.", "references", 'Write "table (column, ...)".')
    referenced = _columns(found["columns"], "references")
    if len(columns) != len(referenced):
        raise KindFault(f"{len(columns)} columns cannot refer to {len(referenced)}.", "references")
    return Orphans(settings.table("table"), columns, _table(found["table"], "references"), referenced)


def _latency(settings: _Settings) -> Spec:
    found = Latency(
        rounds=int(settings.number("rounds", 200, 20, 100_000)),
        percentile=settings.number("percentile", 99, 1, 100),
        budget_ms=settings.number("budget_ms", None, 0) if settings.optional("budget_ms") else None,
        record=settings.optional("record"),
        baseline=settings.optional("baseline"),
        beside=settings.optional("beside"),
        tolerance_percent=settings.number("tolerance_percent", 20, 0),
        slack_ms=settings.number("slack_ms", 0.1, 0),
    )
    if found.budget_ms is None and not (found.record or found.baseline or found.beside):
        raise KindFault("Nothing is asked of the latency.", do="Add budget_ms, record, baseline or beside.")
    return found


def _size(settings: _Settings) -> Spec:
    table = settings.table("table")
    if settings.optional("against"):
        return Size(table, None, settings.table("against"), settings.number("percent", 100, 0))
    return Size(table, settings.number("at_most_mb", None, 0), None, 100)


@dataclass(frozen=True, slots=True)
class KindOfCheck:
    """A kind: the settings it knows, whether it stands above a query, and how its settings are read."""

    keys: tuple[str, ...]
    make: Callable[[_Settings], Spec]
    query: bool = False


KINDS: dict[str, KindOfCheck] = {
    "equal counts": KindOfCheck(("tables",), _equal_counts),
    "orphans": KindOfCheck(("table", "columns", "references"), _orphans),
    "duplicates": KindOfCheck(("table", "columns"), lambda s: Duplicates(s.table("table"), s.columns())),
    "valid constraints": KindOfCheck(("tables",), lambda s: ValidConstraints(s.tables())),
    "valid indexes": KindOfCheck(("tables",), lambda s: ValidIndexes(s.tables())),
    "unambiguous mapping": KindOfCheck(("mapping",), lambda s: UnambiguousMapping(s.text("mapping"))),
    "sequences ahead": KindOfCheck(("tables",), lambda s: SequencesAhead(s.tables())),
    "fresh statistics": KindOfCheck(
        ("tables", "percent"), lambda s: FreshStatistics(s.tables(), s.number("percent", 20, 0, 100))
    ),
    "uses index": KindOfCheck(
        ("table", "index"), lambda s: UsesIndex(s.table("table"), s.optional("index")), query=True
    ),
    "latency": KindOfCheck(
        ("rounds", "percentile", "budget_ms", "record", "baseline", "beside", "tolerance_percent", "slack_ms"),
        _latency,
        query=True,
    ),
    "size": KindOfCheck(("table", "at_most_mb", "against", "percent"), _size),
    "quiet": KindOfCheck(("tables", "seconds"), lambda s: Quiet(s.tables(), int(s.number("seconds", 60, 1, 86_400)))),
}
KEYS = tuple(dict.fromkeys(key for kind in KINDS.values() for key in kind.keys))


def read_kind(name: str, values: Mapping[str, str]) -> Spec:
    """The settings of a check of kind ``name`` (in KINDS). Raises KindFault for what is missing, foreign or wrong."""
    kind = KINDS[name]
    for key in values:
        if key not in kind.keys:
            raise KindFault(f"A check of kind {name!r} has no {key}.", key, f"It has {', '.join(kind.keys)}.")
    return kind.make(_Settings(values))
