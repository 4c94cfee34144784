"""Writers of both shapes at once, of every kind of write, and what they must find of it afterwards.

Nobody can foretell which of two writes at the same time comes last. But of the writes to one row, as they were committed,
the row must hold one that no other began after: a *history*. Equal tables would not show a write that both have lost.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from psycopg import sql
from psycopg.errors import DeadlockDetected, LockNotAvailable, SerializationFailure, UniqueViolation

from console.journal.connect import Conn, connect

CELLS = 240  # rows there may be; half of them are there at the start
SURE = 216  # of these the goods keep their names; what became of the others only the comparison judges
TOO_MUCH, TOO_LITTLE = 2_000_000, -1  # amounts that only the old, or only the new shape takes
ISOLATION = ("READ COMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")
KINDS = ("insert", "upsert", "upsert", "update", "update", "key", "delete", "merge", "copy", "back")


def good_of(cell: int) -> int:
    """The good that a row is of; a clerk renames those from 25 on."""
    return cell % 24 + 1 if cell < SURE else 25 + cell % 6


@dataclass(frozen=True)
class Side:
    """A table as its application sees it: columns with types, the first ``keys`` of which are its key."""

    table: str
    columns: tuple[tuple[str, str], ...]
    keys: int
    named: bool  # shop and item by name, else by the number of a good
    numbered: bool  # the row's number is its key, else its time

    @property
    def key(self) -> str:
        return ", ".join(name for name, _ in self.columns[: self.keys])

    def row(self, cell: int, amount: int, note: str) -> tuple[object, ...]:
        good = good_of(cell)
        place: object = cell if self.numbered else f"2026-01-01 00:{cell // 60:02d}:{cell % 60:02d}Z"
        names: tuple[object, ...] = (f"S{good % 3}", f"item{good}") if self.named else (good,)
        return (place, *names, amount, note)

    def rows(self) -> str:
        """FROM item of rows given as one array for each column."""
        given = ", ".join(f"%s::{kind}[]" for _, kind in self.columns)
        return f"unnest({given}) v({', '.join(name for name, _ in self.columns)})"

    def set(self, row: str) -> str:
        return ", ".join(f"{name} = {row}.{name}" for name, _ in self.columns[self.keys :])

    def match(self, left: str, right: str) -> str:
        return " AND ".join(f"{left}.{name} = {right}.{name}" for name, _ in self.columns[: self.keys])


@dataclass(frozen=True)
class Write:
    """A committed write of one cell: when it began and was committed, and its note (None: the row is gone)."""

    began: float
    ended: float
    note: str | None
    side: str
    refused: bool = False  # by the other side


Effect = tuple[
    int, float, str | None, bool
]  # cell, when its statement began, its note, whether the other side refuses it


@dataclass
class History:
    """Everything that was committed, of each cell."""

    writes: dict[int, list[Write]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, side: str, effects: Iterable[Effect], ended: float) -> None:
        with self.lock:
            for cell, began, note, refused in effects:
                self.writes.setdefault(cell, []).append(Write(began, ended, note, side, refused))

    def allowed(self, cell: int) -> set[str | None]:
        """What the cell may hold: writes after whose end no other began.

        What the other side refused is only on its own: there it stays until the other side writes what this one takes.
        """
        writes = self.writes.get(cell, [])

        def ended(write: Write, by: Write) -> bool:
            unseen = write.refused and by.side != write.side and (by.refused or by.note is None)
            return by.began > write.ended and not unseen

        return {write.note for write in writes if not any(ended(write, by) for by in writes)}


class Gate:
    """Sides that are open to writers; closing one waits until nobody is inside."""

    def __init__(self) -> None:
        self.open: set[str] = set()
        self.inside: Counter[str] = Counter()
        self.changed = threading.Condition()

    def let(self, *sides: str) -> None:
        with self.changed:
            self.open = set(sides)
            self.changed.wait_for(lambda: all(n == 0 for s, n in self.inside.items() if s not in self.open), 30)

    @contextmanager
    def entered(self, chance: random.Random) -> Iterator[str | None]:
        with self.changed:
            side = chance.choice(sorted(self.open)) if self.open else None
            if side:
                self.inside[side] += 1
        try:
            yield side
        finally:
            if side:
                with self.changed:
                    self.inside[side] -= 1
                    self.changed.notify_all()


class Writer(threading.Thread):
    """An application that writes random rows through whichever sides are open, a transaction at a time."""

    def __init__(self, conninfo: str, sides: dict[str, Side], gate: Gate, history: History, name: str) -> None:
        super().__init__(name=f"writer {name}", daemon=True)
        self.conninfo, self.sides, self.gate, self.history = conninfo, sides, gate, history
        self.chance = random.Random(name)
        self.tag = name.rpartition(" ")[2]
        self.number = 0
        self.ended = threading.Event()
        self.failed: list[str] = []
        self.truncates = False

    def run(self) -> None:
        with connect(self.conninfo, application_name=self.name) as conn:
            conn.execute("SET lock_timeout = '5s'")
            while not self.ended.is_set():
                with self.gate.entered(self.chance) as side:
                    if side:
                        self._once(conn, side)
                self.ended.wait(0.003)

    def _once(self, conn: Conn, side: str) -> None:
        effects: list[Effect] = []
        isolation = self.chance.choice(ISOLATION)
        begun = time.monotonic()
        try:
            conn.execute(f"BEGIN ISOLATION LEVEL {isolation}".encode())
            for cells in self._cells():
                self._statement(conn, side, cells, effects, isolation)
            conn.execute("COMMIT")
        except (DeadlockDetected, SerializationFailure, LockNotAvailable, UniqueViolation) as error:
            conn.execute("ROLLBACK")
            self.history.counts[f"{type(error).__name__} {isolation}"] += 1
            return
        except Exception as error:
            self.failed.append(
                f"{side} {isolation} after {time.monotonic() - begun:.1f} s: {type(error).__name__}: {error}"
            )
            self.ended.set()
            return
        self.history.counts[f"committed {side}"] += 1
        self.history.add(side, effects, time.monotonic())

    def _cells(self) -> list[list[int]]:
        """Rows of each statement, rising: an application that would deadlock without us shows nothing."""
        chosen = sorted(self.chance.sample(range(CELLS), self.chance.choice((1, 1, 2, 3, 5))))
        cut = self.chance.randrange(len(chosen) + 1)
        return [part for part in (chosen[:cut], chosen[cut:]) if part]

    def _note(self, cell: int) -> str:
        self.number += 1
        return f"{cell}:{self.tag}.{self.number}"

    def _statement(self, conn: Conn, name: str, cells: list[int], effects: list[Effect], isolation: str) -> None:
        side = self.sides[name]
        kind = self.chance.choice(KINDS)
        if self.truncates and isolation == "READ COMMITTED" and self.chance.random() < 0.02:
            began = time.monotonic()
            conn.execute(f"TRUNCATE {side.table}".encode())
            effects += [(cell, began, None, False) for cell in range(CELLS)]
            self.history.counts["truncate"] += 1
            return
        if kind == "back":
            conn.execute("SAVEPOINT s")
            self._write(conn, side, self.chance.choice(KINDS[:-1]), cells)
            conn.execute("ROLLBACK TO SAVEPOINT s")
            return
        self.history.counts[kind] += 1
        began = time.monotonic()
        effects += [(cell, began, note, bad) for cell, note, bad in self._write(conn, side, kind, cells)]

    def _write(self, conn: Conn, side: Side, kind: str, cells: list[int]) -> list[tuple[int, str | None, bool]]:
        """Carry a statement out; (cell, what it holds now, whether the other side does not take it)."""
        bad = TOO_MUCH if side.named else TOO_LITTLE
        amounts = [bad if self.chance.random() < 0.06 else self.chance.randrange(1, 900_000) for _ in cells]
        notes = [self._note(cell) for cell in cells]
        rows = [side.row(*row) for row in zip(cells, amounts, notes, strict=True)]
        put = {note: (cell, note, amount == bad) for cell, amount, note in zip(cells, amounts, notes, strict=True)}
        arrays = [list(values) for values in zip(*rows, strict=True)]
        head = f"INSERT INTO {side.table} AS t SELECT * FROM {side.rows()}"
        if kind == "insert":
            done = conn.execute(f"{head} ON CONFLICT ({side.key}) DO NOTHING RETURNING note".encode(), arrays)
            return [put[row[0]] for row in done]
        if kind == "upsert":
            conn.execute(f"{head} ON CONFLICT ({side.key}) DO UPDATE SET {side.set('excluded')}".encode(), arrays)
        elif kind == "update":
            query = f"UPDATE {side.table} t SET {side.set('v')} FROM {side.rows()} WHERE {side.match('t', 'v')}"
            return [put[row[0]] for row in conn.execute(f"{query} RETURNING t.note".encode(), arrays)]
        elif kind == "delete":
            query = f"DELETE FROM {side.table} t USING {side.rows()} WHERE {side.match('t', 'v')} RETURNING t.note"
            return [(int(row[0].partition(":")[0]), None, False) for row in conn.execute(query.encode(), arrays)]
        elif kind == "merge":
            names = ", ".join(name for name, _ in side.columns)
            conn.execute(
                f"MERGE INTO {side.table} t USING {side.rows()} ON {side.match('t', 'v')}"
                f" WHEN MATCHED THEN UPDATE SET {side.set('v')}"
                f" WHEN NOT MATCHED THEN INSERT VALUES ({', '.join('v.' + n for n in names.split(', '))})".encode(),
                arrays,
            )
        elif kind == "copy":
            with conn.cursor().copy(f"COPY {side.table} FROM STDIN".encode()) as into:
                for row in rows:
                    into.write_row(row)
        else:
            return self._move(conn, side, cells[0])
        return list(put.values())

    def _move(self, conn: Conn, side: Side, cell: int) -> list[tuple[int, str | None, bool]]:
        """Give a row another key; its note tells its number."""
        goal = self.chance.choice([n for n in range(CELLS) if n != cell])
        note = self._note(goal)
        source, row = side.row(cell, 1, ""), side.row(goal, self.chance.randrange(1, 900_000), note)
        assigned = ", ".join(f"{name} = %s" for name, _ in side.columns)
        found = " AND ".join(f"{name} = %s" for name, _ in side.columns[: side.keys])
        done = conn.execute(f"UPDATE {side.table} SET {assigned} WHERE {found}".encode(), (*row, *source[: side.keys]))
        return [(cell, None, False), (goal, note, False)] if done.rowcount else []


class Clerk(threading.Thread):
    """Renames goods and shops' spellings under the writers; whenever it rests, every name is as it was.

    A comparison does not conclude while names keep changing, so it rests then.
    """

    def __init__(self, conninfo: str, name: str) -> None:
        super().__init__(name=f"clerk {name}", daemon=True)
        self.conninfo = conninfo
        self.chance = random.Random(name)
        self.ended = threading.Event()
        self.works = threading.Event()
        self.works.set()
        self.round = threading.Lock()
        self.changes = 0
        self.failed: list[str] = []

    def run(self) -> None:
        with connect(self.conninfo, application_name=self.name) as conn:
            while not self.ended.is_set():
                with self.round:
                    if self.works.is_set():
                        self._change(conn)
                self.ended.wait(0.05)

    def rest(self) -> None:
        """No name is changed from now on until ``works`` is set."""
        self.works.clear()
        with self.round:
            pass

    def _change(self, conn: Conn) -> None:
        good = self.chance.randrange(25, 31)
        self._until_done(conn, f"UPDATE goods SET item = item || 'x' WHERE id = {good}")
        self.ended.wait(0.05)
        self._until_done(conn, f"UPDATE goods SET item = 'item{good}' WHERE id = {good}")
        self._until_done(conn, "INSERT INTO spellings VALUES ('s2', 'S2', false)")
        self._until_done(conn, "DELETE FROM spellings WHERE spelling = 's2'")

    def _until_done(self, conn: Conn, statement: str) -> None:
        while True:
            try:
                conn.execute(statement.encode())
                self.changes += 1
                return
            except (DeadlockDetected, LockNotAvailable):
                self.ended.wait(0.01)
            except Exception as error:
                self.failed.append(f"{type(error).__name__}: {error}")
                self.ended.set()
                return


def start_rows(conn: Conn, side: Side, history: History) -> None:
    """Every other cell has a row before anybody writes."""
    with conn.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(side.table))) as into:
        for cell in range(CELLS):
            note = f"{cell}:start" if cell % 2 else None
            history.add("old", [(cell, -1.0, note, False)], 0.0)
            if note:
                into.write_row(side.row(cell, cell + 1, note))


def assert_as_written(conn: Conn, sides: dict[str, Side], history: History) -> None:
    """Each cell holds a write that may have been the last: in the new table where only that could hold it, else the old."""
    held: dict[str, dict[int, str]] = {}
    for name, side in sides.items():
        rows = conn.execute(sql.SQL("SELECT note FROM {}").format(sql.Identifier(side.table))).fetchall()
        held[name] = {int(note.partition(":")[0]): note for (note,) in rows}
    refused = {
        int(row[0].partition(":")[0])
        for row in conn.execute("SELECT row_data->>'note' FROM pgferry.reject WHERE direction = 'reverse'")
    }
    wrong = []
    for cell in range(SURE):
        found = {held["new"].get(cell)} | ({held["old"].get(cell)} if cell in held["new"] else set())
        if cell not in refused:
            found = {held["old"].get(cell)}
        if not found & history.allowed(cell):
            wrong.append((cell, found, sorted(history.writes[cell], key=lambda w: w.ended)[-5:]))
    assert not wrong, wrong[:3]
