"""Every shape of table, every kind of write, both directions: both tables hold what the application wrote."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from console.engine import dual_write, sync_sets
from console.journal.connect import Conn, connect
from console.journal.state import RunStatus, Verb
from console.plan.model import BackfillSettings, Direction, Kind, Leads, Triggers
from tests.engine.scene import a_plan, a_run, a_task, order
from tests.engine.shapes import SHAPES, Row, Shape, Side, quote

Model = dict[Row, Row]


def plan_of(shape: Shape, triggers: Triggers) -> Any:
    """Both directions from the start, the copy under them, the comparison, the switch, the old table retired."""
    ids = (shape.id,)
    return a_plan(
        a_task("sync", Kind.SYNC, mappings=ids, direction=Direction.BOTH),
        a_task("copy", Kind.BACKFILL, mappings=ids, backfill=BackfillSettings(batch_rows=3)),
        a_task("compare", Kind.CHECK, mappings=ids),
        a_task("new", Kind.SWITCH, mappings=ids, leads=Leads.NEW),
        a_task("again", Kind.CHECK, mappings=ids),
        mapping=replace(shape.mapping(), triggers=triggers),
    )


def held(conn: Conn, side: Side) -> list[Row]:
    columns = ", ".join(f"{quote(c)}::text" for c in side.columns)
    return sorted(conn.execute(f"SELECT {columns} FROM {side.name}").fetchall(), key=str)


class Application:
    """Writes to either side and remembers what it wrote."""

    def __init__(self, conn: Conn, shape: Shape) -> None:
        self.conn, self.shape, self.model = conn, shape, Model()

    def expect(self, what: str) -> None:
        """Both tables hold what was written."""
        wanted = sorted((k + v for k, v in self.model.items()), key=str)
        for side in (self.shape.old, self.shape.new):
            assert held(self.conn, side) == wanted, f"{what}: {side.name}"

    def types(self, side: Side) -> list[str]:
        rows = self.conn.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = %s::regclass",
            (side.name,),
        )
        types = dict(rows.fetchall())
        return [types[column] for column in side.columns]

    def values(self, rows: list[Row]) -> tuple[str, list[str | None]]:
        slots = ", ".join("(" + ", ".join(["%s"] * len(self.shape.old.columns)) + ")" for _ in rows)
        return slots, [value for row in rows for value in row]

    def insert(self, side: Side, rows: list[Row], conflict: str = "") -> None:
        slots, values = self.values(rows)
        self.conn.execute(f"INSERT INTO {side.name} ({side.list}) {side.overriding} VALUES {slots} {conflict}", values)

    def copy(self, side: Side, rows: list[Row]) -> None:
        with self.conn.cursor().copy(f"COPY {side.name} ({side.list}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)

    def is_key(self, side: Side) -> str:
        return " AND ".join(f"{quote(c)} = %s" for c in side.columns[: self.shape.of_key])

    def set_of(self, columns: tuple[str, ...]) -> str:
        return ", ".join(f"{quote(c)} = %s" for c in columns)


def every_write(app: Application, side: Side) -> None:
    """Each kind of write through one side, with both tables looked at after each."""
    shape, conn, model = app.shape, app.conn, app.model
    key_columns, rest = side.columns[: shape.of_key], side.columns[shape.of_key :]
    key_list = ", ".join(quote(c) for c in key_columns)
    k, v = shape.keys, shape.values

    app.insert(side, [k[0] + v[0]])
    model[k[0]] = v[0]
    app.insert(side, [k[i] + v[i % len(v)] for i in (1, 2, 3)])
    model.update({k[i]: v[i % len(v)] for i in (1, 2, 3)})
    app.expect("INSERT")
    app.copy(side, [k[i] + v[i % len(v)] for i in (4, 5)])
    model.update({k[i]: v[i % len(v)] for i in (4, 5)})
    app.expect("COPY")

    for value in v:
        conn.execute(f"UPDATE {side.name} SET {app.set_of(rest)} WHERE {app.is_key(side)}", (*value, *k[1]))
        model[k[1]] = value
        app.expect(f"UPDATE to {value}")
    if not side.overriding:
        conn.execute(f"UPDATE {side.name} SET {app.set_of(key_columns)} WHERE {app.is_key(side)}", (*k[6], *k[2]))
        model[k[6]] = model.pop(k[2])
        app.expect("UPDATE of a key")

    app.insert(side, [k[0] + v[1]], f"ON CONFLICT ({key_list}) DO NOTHING")
    app.expect("ON CONFLICT DO NOTHING")
    taken = ", ".join(f"{quote(c)} = excluded.{quote(c)}" for c in rest)
    app.insert(side, [k[0] + v[1], k[7] + v[0]], f"ON CONFLICT ({key_list}) DO UPDATE SET {taken}")
    model.update({k[0]: v[1], k[7]: v[0]})
    app.expect("ON CONFLICT DO UPDATE")
    if conn.info.server_version >= 150000:
        merge(app, side)
    conn.execute(f"DELETE FROM {side.name} WHERE {app.is_key(side)}", k[0])
    del model[k[0]]
    app.expect("DELETE")


def merge(app: Application, side: Side) -> None:
    """MERGE with all of its actions: one row changed, one deleted, one inserted."""
    shape, model, k, v = app.shape, app.model, app.shape.keys, app.shape.values
    typed = ", ".join(
        f"c{i}::{t} AS {quote(c)}" for i, (c, t) in enumerate(zip(side.columns, app.types(side), strict=True))
    )
    names = ", ".join(f"c{i}" for i in range(len(side.columns)))
    on = " AND ".join(f"t.{quote(c)} = s.{quote(c)}" for c in side.columns[: shape.of_key])
    rest = side.columns[shape.of_key :]
    here, there = (k[4], v[0]), (k[2], v[-1])
    slots, values = app.values([here[0] + here[1], k[5] + v[0], there[0] + there[1]])
    deleted = " AND ".join(f"t.{quote(c)} = %s" for c in side.columns[: shape.of_key])
    app.conn.execute(
        f"MERGE INTO {side.name} t USING (SELECT {typed} FROM (VALUES {slots}) q({names})) s ON {on}"
        f" WHEN MATCHED AND {deleted} THEN DELETE"
        f" WHEN MATCHED THEN UPDATE SET {', '.join(f'{quote(c)} = s.{quote(c)}' for c in rest)}"
        f" WHEN NOT MATCHED THEN INSERT ({side.list}) {side.overriding}"
        f" VALUES ({', '.join(f's.{quote(c)}' for c in side.columns)})",
        (*values, *k[5]),
    )
    model[here[0]] = here[1]
    model[there[0]] = there[1]
    del model[k[5]]
    app.expect("MERGE")


@pytest.fixture
def conn(database: str) -> Iterator[Conn]:
    with connect(database, application_name="application") as conn:
        yield conn


_CASES = [(shape, Triggers.ROW) for shape in SHAPES] + [
    (shape, Triggers.STATEMENT) for shape in SHAPES if shape.id in ("composite", "types", "generated")
]


@pytest.mark.parametrize(("shape", "triggers"), _CASES, ids=[f"{shape.id[:20]}-{how}" for shape, how in _CASES])
def test_a_shape(database: str, conn: Conn, shape: Shape, triggers: Triggers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dual_write, "PARTING_QUIET_S", 0.2)
    monkeypatch.setattr(sync_sets, "FEW", 0)
    if conn.info.server_version < shape.least * 10000:
        pytest.skip(f"needs PostgreSQL {shape.least}")
    conn.execute(shape.setup)
    app = Application(conn, shape)
    seed = [key + shape.values[i % len(shape.values)] for i, key in enumerate(shape.keys)]
    app.insert(shape.old, seed)
    app.model.update({row[: shape.of_key]: row[shape.of_key :] for row in seed})

    plan = plan_of(shape, triggers)
    run_id = a_run(database, plan)
    status, _ = order(database, plan, run_id, Verb.START, until="end")
    error = conn.execute("SELECT error FROM pgferry.run").fetchone()
    assert status is RunStatus.DONE, error
    assert conn.execute("SELECT * FROM pgferry.reject").fetchall() == []
    app.expect("the copy")
    for side in (shape.old, shape.new):
        conn.execute(f"TRUNCATE {side.name}")
        app.model.clear()
        app.expect(f"TRUNCATE {side.name}")
        every_write(app, side)
    assert conn.execute("SELECT * FROM pgferry.reject").fetchall() == []
    assert conn.execute("SELECT * FROM pgferry.recheck").fetchall() == []

    status, answer = order(database, plan, run_id, Verb.ROLLBACK, to="again")
    assert status is RunStatus.WAITING, answer
    status, _ = order(database, plan, run_id, Verb.START, until="end")
    error = conn.execute("SELECT error FROM pgferry.run").fetchone()
    assert status is RunStatus.DONE, error
    status, answer = order(database, plan, run_id, Verb.ROLLBACK, to="start")
    assert status is RunStatus.ROLLED_BACK, answer
    wanted = sorted((key + value for key, value in app.model.items()), key=str)
    assert (held(conn, shape.old), held(conn, shape.new)) == (wanted, []), "going back empties only the new table"
