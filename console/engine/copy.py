"""One range of a backfill as one statement: its rows, its rejects, its counters and its content hash."""

from __future__ import annotations

from dataclasses import dataclass, replace

import psycopg
from psycopg import sql

from console.engine import derive, ranges
from console.engine.derive import Composed, column, commas, raw, table
from console.engine.facts import MappingFacts
from console.engine.sync_rows import SAME
from console.journal.chunks import Key
from console.journal.connect import Conn
from console.plan.model import Lookup, Mapping

# From this many rows on a lookup is probed for each row (the server remembers results) instead of read whole.
LARGE_LOOKUP = 5_000
# How many rows the statement noted as rejects: pgferry.note_reject counts them.
_NOTED = raw("coalesce(nullif(current_setting('pgferry.noted', true), ''), '0')::bigint")


@dataclass(frozen=True, slots=True)
class Way:
    """How a range is copied.

    ``tested``: NOT NULL and CHECK of the new table are tested row by row, so that their rows become rejects;
    without it the INSERT itself tests them, once, and one bad row fails the range.
    ``skip``: rows that the sync brought already are left alone (ON CONFLICT DO NOTHING).
    ``locked``: the old rows are locked, where writers do not note what they delete (see ``tombstones``).
    ``hashed``: a content hash of the rows is made; to return a value for each row and to hash it is a quarter of the
    statement's time (10 of 43 ms for 20,000 rows).
    """

    tested: bool = False
    skip: bool = False
    locked: bool = False
    hashed: bool = True


class CopyStatement:
    """Composes the statement of any range of a mapping; everything but the range is rendered once."""

    def __init__(
        self, mapping: Mapping, facts: MappingFacts | None, names: tuple[str, ...], *, bulk: bool = True,
        hashes: Composed | None = None,
    ) -> None:  # fmt: skip
        self.mapping = mapping
        self.facts = facts
        self.names = names
        self.old = facts.old.name if facts else mapping.old
        self.bulk = bulk
        self._hash = hashes or sql.SQL("NULL::bigint")
        self._parts: dict[Way, tuple[Composed, Composed]] = {}

    def alone(self, low: Key | None, high: Key | None, way: Way) -> sql.Composed:
        """``INSERT .. SELECT`` of the range, without a hash: as ``writing``, its row count says what was written."""
        head, tail = self._rendered(replace(way, hashed=False))
        return sql.Composed([head, ranges.between("s", self.names, low, high), tail])

    def counted(self, low: Key | None, high: Key | None, way: Way, written: int) -> sql.Composed:
        """A FROM item after ``alone``, in its transaction: (read, written, rejected, hash)."""
        count = sql.Literal(written)
        return sql.SQL("(SELECT {} AS read, {} AS written, {} AS rejected, 0 AS hash)").format(
            self._read(low, high, way, count), count, _NOTED
        )

    def _read(self, low: Key | None, high: Key | None, way: Way, written: Composed) -> Composed:
        if way.skip or (self.facts and self.facts.new.more_unique):  # some rows are neither written nor rejected
            return sql.SQL("(SELECT count(*) FROM {} s WHERE {})").format(
                table(self.old), ranges.between("s", self.names, low, high)
            )
        return sql.SQL("{} + {}").format(written, _NOTED)

    def sums(self, low: Key | None, high: Key | None, way: Way) -> sql.Composed:
        """A FROM item for ``WITH written AS (..)`` of ``writing``: (read, written, rejected, hash)."""
        return sql.SQL(
            "(SELECT {} AS read, w.written, {} AS rejected, w.hash FROM"
            " (SELECT count(*) AS written, coalesce(sum(h), 0) AS hash FROM written) w OFFSET 0)"
        ).format(self._read(low, high, way, raw("w.written")), _NOTED)

    def writing(self, low: Key | None, high: Key | None, way: Way) -> sql.Composed:
        """``written AS (INSERT .. SELECT of the range .. RETURNING hash)``.

        A row that is deleted, given another key or made refused meanwhile is noted by its writer (``tombstones``);
        ``locked`` keeps it from that instead (FOR SHARE: FOR KEY SHARE would copy a value that is refused by now). Rows
        that the new shape refuses are noted as rejects in the same scan. Of several old rows for one new key the
        canonical one goes in, else the first: as the sync does.
        """
        head, tail = self._rendered(replace(way, hashed=True))
        return sql.Composed([head, ranges.between("s", self.names, low, high), tail])

    def _rendered(self, way: Way) -> tuple[Composed, Composed]:
        if way not in self._parts:
            self._parts[way] = self._around(way)
        return self._parts[way]

    def _around(self, way: Way) -> tuple[Composed, Composed]:
        """What stands before and after the range, rendered."""
        mark = sql.SQL("/*range*/")
        source = sql.SQL("(SELECT s.* FROM {} s WHERE {}{})").format(
            table(self.old), mark, raw(" FOR SHARE" if way.locked else "")
        )
        targets = [name for name, _ in self.mapping.columns]
        text = sql.SQL(
            "{begin}  INSERT INTO {new} AS n ({targets}) OVERRIDING SYSTEM VALUE\n"
            "  SELECT {values} FROM ({projection}) pgferry_c\n"
            "  WHERE CASE WHEN {good} THEN true ELSE {note} END {conflict}{end}"
        ).format(
            begin=raw("written AS (\n" if way.hashed else ""),
            end=sql.SQL("\n  RETURNING {} AS h\n)").format(self._hash) if way.hashed else raw(""),
            new=table(self.mapping.new),
            targets=commas(sql.Identifier(name) for name in targets),
            values=commas(column("pgferry_c", name) for name in targets),
            projection=derive.forward(self.mapping, self._tests(way), source, bulk=self.bulk),
            good=self._good(),
            note=sql.SQL("pgferry.note_reject({}, {}, {}, coalesce(pgferry_c.pgferry_reason, {}), {})").format(
                sql.Literal(self.mapping.id),
                derive.projected_key(self.mapping, "pgferry_c"),
                self._row(),
                sql.Literal(SAME),
                derive.state_of(
                    derive.forward_tests(self.mapping, self._tests(way)), raw("pgferry_c.pgferry_reason")
                ),
            ),
            conflict=self._conflict(way),
        )  # fmt: skip
        head, _, tail = text.as_string(None).partition("/*range*/")
        return raw(head), raw(tail)

    def _row(self) -> Composed:
        """A refused row as jsonb, fetched again by its key: to carry whole rows through the join costs a tenth.

        A row whose key was changed while the scan waited for it is not there under this snapshot: its key is kept.
        """
        same = derive.ands(
            sql.SQL("{} = {}").format(column("pgferry_z", name), column("pgferry_c", f"pgferry_old_{i}"))
            for i, name in enumerate(self.mapping.old_key)
        )
        return sql.SQL("coalesce((SELECT to_jsonb(pgferry_z) FROM {} pgferry_z WHERE {}), {})").format(
            table(self.old), same, derive.projected_key(self.mapping, "pgferry_c")
        )

    def _tests(self, way: Way) -> MappingFacts | None:
        """The facts whose constraints the projection tests. Lengths always: an INSERT cuts trailing blanks off."""
        if way.tested or self.facts is None:
            return self.facts
        columns = tuple(replace(column, not_null=False, checks=()) for column in self.facts.new.columns)
        return replace(self.facts, new=replace(self.facts.new, checks=(), foreign_keys=(), columns=columns))

    def _conflict(self, way: Way) -> Composed:
        if not way.skip:
            return raw("")
        return sql.SQL("\n  ON CONFLICT ({}) DO NOTHING").format(
            commas(sql.Identifier(name) for name in self.mapping.new_key)
        )

    def _good(self) -> Composed:
        taken = sql.SQL("pgferry_c.pgferry_reason IS NULL")
        if not self.mapping.lookups:
            return taken
        twins = derive.forward(
            self.mapping, self.facts,
            derive.preimage(self.mapping, self.old, {n: column("pgferry_c", n) for n in self.mapping.new_key}),
            bulk=False,
        )  # fmt: skip
        keys = [f"pgferry_old_{i}" for i in range(len(self.mapping.old_key))]
        theirs, ours = (commas(column(alias, k) for k in keys) for alias in ("pgferry_t", "pgferry_c"))
        return sql.SQL(
            "{} AND (pgferry_c.pgferry_canonical OR NOT EXISTS (SELECT 1 FROM ({}) pgferry_t"
            " WHERE pgferry_t.pgferry_reason IS NULL AND ({}) <> ({})"
            " AND (pgferry_t.pgferry_canonical OR ({}) < ({}))))"
        ).format(taken, twins, theirs, ours, theirs, ours)


def copy_statement(
    mapping: Mapping, facts: MappingFacts | None, names: tuple[str, ...], low: Key | None, high: Key, *, skip: bool
) -> sql.Composed:
    """The whole statement of one range, for a preview: it returns counts instead of finishing a chunk."""
    statement = CopyStatement(mapping, facts, names)
    way = Way(tested=True, skip=skip)
    return sql.SQL("WITH {} SELECT * FROM {} d").format(
        statement.writing(low, high, way), statement.sums(low, high, way)
    )


def large_lookups(conn: Conn, mapping: Mapping) -> bool:
    """Whether any lookup is too large to be read whole for each range."""

    def large(lookup: Lookup) -> bool:
        row = conn.execute(
            sql.SQL("SELECT count(*) FROM (SELECT 1 FROM {} LIMIT {}) r").format(
                table(lookup.relation), sql.Literal(LARGE_LOOKUP)
            )
        ).fetchone()
        return row is not None and row[0] >= LARGE_LOOKUP

    return any(large(lookup) for lookup in mapping.lookups)


def row_hash(conn: Conn, mapping: Mapping, facts: MappingFacts) -> Composed:
    """SQL for the 64-bit hash of one written row ``n``.

    The record's hash alone is linear in its columns, so that a sum over rows would not see two rows exchange a
    value; hashed once more it does. Columns of a type without a hash function, and all before PostgreSQL 14,
    are hashed as text.
    """
    names = [name for name, _ in mapping.columns]
    if conn.info.server_version < 140000:
        return sql.SQL("hashtextextended(ROW({})::text, 0)").format(commas(column("n", name) for name in names))

    def part(name: str) -> Composed:
        found = facts.new.column(name)
        plain = column("n", name)
        if found is None:
            return plain
        try:
            with conn.transaction():
                conn.execute(sql.SQL("SELECT hash_record_extended(ROW(NULL::{}), 0)").format(raw(found.base)))
        except psycopg.errors.UndefinedFunction:
            return sql.SQL("{}::text").format(plain)
        return plain

    return sql.SQL("hashint8extended(hash_record_extended(ROW({}), 0), 0)").format(commas(map(part, names)))
