"""Old and new tables of many shapes, each with keys and values to write, for tests that hold for every shape.

Values are canonical texts: what ``column::text`` prints. A shape's columns stand in the same order on both sides:
``of_key`` columns of the key, then the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

from console.plan.model import Mapping, TableName

Row = tuple[str | None, ...]


def quote(name: str) -> str:
    """An identifier in double quotes."""
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True)
class Side:
    """One table: its name and the columns that a test writes."""

    table: TableName
    columns: tuple[str, ...]
    overriding: str = ""

    @property
    def name(self) -> str:
        """The table's name as SQL."""
        return f"{quote(self.table.schema)}.{quote(self.table.name)}"

    @property
    def list(self) -> str:
        """The columns as SQL."""
        return ", ".join(quote(c) for c in self.columns)


@dataclass(frozen=True)
class Shape:
    """An old and a new table with data for them. ``casts``: new column -> expression, where it is not the column."""

    id: str
    setup: str
    old: Side
    new: Side
    of_key: int
    keys: tuple[Row, ...]
    values: tuple[Row, ...]
    columns: tuple[tuple[str, str], ...] = ()
    back: tuple[tuple[str, str], ...] = ()
    least: int = 13

    def mapping(self) -> Mapping:
        """Its mapping: each column is the one at the same place."""
        columns = {n: f"o.{quote(o)}" for o, n in zip(self.old.columns, self.new.columns, strict=True)}
        back = {o: f"n.{quote(n)}" for o, n in zip(self.old.columns, self.new.columns, strict=True)}
        return Mapping(
            id=self.id,
            old=self.old.table,
            new=self.new.table,
            old_key=self.old.columns[: self.of_key],
            new_key=self.new.columns[: self.of_key],
            columns=tuple((columns | dict(self.columns)).items()),
            back=tuple((back | dict(self.back)).items()),
        )


def side(name: str, *columns: str, schema: str = "public", overriding: str = "") -> Side:
    """A table's side of a shape."""
    return Side(TableName(schema, name), columns, overriding)


def _numbered(*numbers: int) -> tuple[Row, ...]:
    return tuple((str(n),) for n in numbers)


_TEXTS: tuple[Row, ...] = (("a",), ("b",), (None,), ("Ü €\n'\"\\",), ("",), ("z" * 300,))
_HOURS = tuple(f"2026-03-0{d} 10:0{d}:00.000{d}+00" for d in range(1, 9))

SHAPES = (
    Shape(
        "bigint",
        "CREATE TABLE old_t (id bigint PRIMARY KEY, body text);"
        "CREATE TABLE new_t (id bigint PRIMARY KEY, body text)",
        side("old_t", "id", "body"), side("new_t", "id", "body"), 1, _numbered(*range(1, 9)), _TEXTS,
    ),
    Shape(
        "sparse",
        "CREATE TABLE old_t (id bigint PRIMARY KEY, a integer, b smallint);"
        "CREATE TABLE new_t (id bigint PRIMARY KEY, a bigint, b integer NOT NULL DEFAULT 0)",
        side("old_t", "id", "a", "b"), side("new_t", "id", "a", "b"), 1,
        _numbered(-(2**63), -5, 0, 7, 10**6, 10**12, 2**62, 2**63 - 1),
        (("1", "2"), (None, "3"), ("2147483647", "-32768"), ("0", "0")),
    ),
    Shape(
        "composite",
        "CREATE TABLE old_t (at timestamptz, venue varchar(10), n integer, price numeric(20, 8), PRIMARY KEY (at, venue, n));"
        "CREATE TABLE new_t (at timestamptz, venue text, n integer, price numeric(24, 8), PRIMARY KEY (at, n, venue))",
        side("old_t", "at", "venue", "n", "price"), side("new_t", "at", "venue", "n", "price"), 3,
        tuple((at, "V" * (1 + i % 3), str(i)) for i, at in enumerate(_HOURS)),
        (("1.00000000",), ("-0.00000001",), (None,), ("NaN",), ("123456789012.12345678",)),
    ),
    Shape(
        "uuid",
        "CREATE TABLE old_t (id uuid PRIMARY KEY, doc jsonb, raw json);"
        "CREATE TABLE new_t (id uuid PRIMARY KEY, doc jsonb, raw json)",
        side("old_t", "id", "doc", "raw"), side("new_t", "id", "doc", "raw"), 1,
        tuple((f"0000000{i}-aaaa-bbbb-cccc-1234567890ab",) for i in range(8)),
        (('{"a": 1}', '{"a":1}'), ('{"a": 1.0}', '{ "a":1}'), (None, None), ("[]", '[{"b" : null}]')),
    ),
    Shape(
        "text",
        'CREATE TABLE old_t (name text COLLATE "C" PRIMARY KEY, label text, n numeric);'
        'CREATE TABLE new_t (name text COLLATE "C" PRIMARY KEY, label text, n numeric)',
        side("old_t", "name", "label", "n"), side("new_t", "name", "label", "n"), 1,
        (("a",), ("A",), ("ä",), ("a ",), ("'",), ('"',), ("\\x",), ("-",)),
        (("x", "1"), ("X", "1.0"), ("x ", "1.00"), (None, "NaN"), ("é", None)),
    ),
    Shape(
        "partitioned_old",
        "CREATE TABLE old_t (at timestamptz, id integer, v real, PRIMARY KEY (at, id)) PARTITION BY RANGE (at);"
        "CREATE TABLE old_1 PARTITION OF old_t FOR VALUES FROM (MINVALUE) TO ('2026-03-04Z');"
        "CREATE TABLE old_2 PARTITION OF old_t FOR VALUES FROM ('2026-03-04Z') TO ('2026-03-06Z');"
        "CREATE TABLE old_3 PARTITION OF old_t DEFAULT;"
        "CREATE TABLE new_t (at timestamptz, id integer, v real, PRIMARY KEY (at, id))",
        side("old_t", "at", "id", "v"), side("new_t", "at", "id", "v"), 2,
        tuple((at, str(i)) for i, at in enumerate(_HOURS)),
        (("1.5",), ("NaN",), ("-0",), ("0",), (None,), ("Infinity",)),
    ),
    Shape(
        "partitioned_both",
        "CREATE TABLE old_t (at timestamptz, id integer, v double precision, PRIMARY KEY (at, id)) PARTITION BY RANGE (at);"
        "CREATE TABLE old_1 PARTITION OF old_t FOR VALUES FROM (MINVALUE) TO ('2026-03-04Z');"
        "CREATE TABLE old_2 PARTITION OF old_t DEFAULT;"
        "CREATE TABLE new_t (at timestamptz, id integer, v double precision, PRIMARY KEY (at, id)) PARTITION BY HASH (id);"
        "CREATE TABLE new_1 PARTITION OF new_t FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
        "CREATE TABLE new_2 PARTITION OF new_t FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
        side("old_t", "at", "id", "v"), side("new_t", "at", "id", "v"), 2,
        tuple((at, str(i)) for i, at in enumerate(_HOURS)),
        (("1.5",), ("NaN",), ("-0",), ("0",), (None,)),
    ),
    Shape(
        "quoted.id-" + "x" * 50,
        'CREATE SCHEMA "Ältes Schema"; CREATE SCHEMA "new "" schema";'
        'CREATE TABLE "Ältes Schema"."Tab ""1""" ("Schlüssel" integer PRIMARY KEY, "select" text, o text, "a.b" text);'
        'CREATE TABLE "new "" schema"."名前" ("キー" integer PRIMARY KEY, "order" text, n text, "x""y" text)',
        side('Tab "1"', "Schlüssel", "select", "o", "a.b", schema="Ältes Schema"),
        side("名前", "キー", "order", "n", 'x"y', schema='new " schema'), 1, _numbered(*range(1, 9)),
        (("a", "b", "c"), (None, "d", None), ("", "", "e"), ("名", None, "x")),
    ),
    Shape(
        "generated",
        "CREATE TABLE old_t (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a integer NOT NULL DEFAULT 7,"
        " double integer GENERATED ALWAYS AS (a * 2) STORED);"
        "CREATE TABLE new_t (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a integer NOT NULL DEFAULT 7,"
        " half text GENERATED ALWAYS AS ((a / 2)::text) STORED, extra text DEFAULT 'x')",
        side("old_t", "id", "a", overriding="OVERRIDING SYSTEM VALUE"),
        side("new_t", "id", "a", overriding="OVERRIDING SYSTEM VALUE"), 1, _numbered(*range(1, 9)),
        (("1",), ("2",), ("3",), ("-4",)),
    ),
    Shape(
        "virtual",
        "CREATE TABLE old_t (id integer PRIMARY KEY, a integer, double integer GENERATED ALWAYS AS (a * 2) VIRTUAL);"
        "CREATE TABLE new_t (id integer PRIMARY KEY, a integer, half integer GENERATED ALWAYS AS (a / 2) VIRTUAL)",
        side("old_t", "id", "a"), side("new_t", "id", "a"), 1, _numbered(*range(1, 9)), (("1",), ("2",), (None,)),
        least=18,
    ),
    Shape(
        "types",
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN short AS varchar(5) CHECK (VALUE <> 'VALUE');"
        "CREATE DOMAIN shorter AS short NOT NULL CHECK (length(VALUE) > 0); CREATE TYPE pair AS (x integer, y text);"
        "CREATE TABLE old_t (id integer PRIMARY KEY, m text, d text NOT NULL, tags text[], p point, c pair, r int4range,"
        " i interval, b bytea);"
        "CREATE TABLE new_t (id integer PRIMARY KEY, m mood, d shorter, tags varchar(5)[], p point, c pair, r int4range,"
        " i interval, b bytea)",
        side("old_t", "id", "m", "d", "tags", "p", "c", "r", "i", "b"),
        side("new_t", "id", "m", "d", "tags", "p", "c", "r", "i", "b"), 1, _numbered(*range(1, 9)),
        (
            ("sad", "a", "{a,b}", "(1,2)", '(1,"a b")', "[1,3)", "1 day", "\\x00ff"),
            ("ok", "b", "{}", "(1,-2)", '(,"")', "empty", "24:00:00", "\\x"),
            (None, "abcde", None, None, None, None, None, None),
        ),
    ),
)  # fmt: skip
