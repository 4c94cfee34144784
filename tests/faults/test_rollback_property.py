"""At any point of the plan, after any writes through either shape: going back gives the schema and the rows back."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from console.demo.server import EmbeddedServer
from console.engine import dual_write
from console.journal.connect import Conn
from console.journal.state import RunStatus, Verb
from console.plan.model import BackfillSettings, Direction, Kind, Leads, Task
from tests.engine.scene import a_database, a_file, a_plan, a_run, a_task, dump, order
from tests.faults.model import Model, Op, of_table
from tests.faults.tools import one, state_of

ROWS = 120
UP = (
    "CREATE TABLE extra (i int PRIMARY KEY);\nSELECT stop_here('u1');\n"
    "CREATE INDEX CONCURRENTLY sales_note ON sales (note);\nSELECT stop_here('u2');\n"
    "BEGIN;\nALTER TABLE extra ADD COLUMN more text;\nINSERT INTO extra VALUES (1, 'one');\nCOMMIT;\n"
)
DOWN = (
    "SELECT stop_here('d1');\nBEGIN;\nALTER TABLE extra DROP COLUMN more;\nDROP TABLE extra;\nCOMMIT;\n"
    "SELECT stop_here('d2');\nDROP INDEX CONCURRENTLY sales_note;\n"
)
LATE = "CREATE INDEX CONCURRENTLY v2_note ON sales_v2 (note);\nSELECT stop_here('u3');\nCOMMENT ON TABLE sales_v2 IS 'leads';"
LATE_DOWN = "COMMENT ON TABLE sales_v2 IS NULL;\nSELECT stop_here('d3');\nDROP INDEX CONCURRENTLY v2_note;"
STOPS = """
CREATE TABLE stops (what text NOT NULL);
CREATE FUNCTION stop_here(what text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM public.stops s WHERE s.what = stop_here.what) THEN RAISE 'told to stop at %', what; END IF;
END $$;
"""
CHUNKS = """
CREATE FUNCTION stop_chunk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM public.stops s WHERE s.what = 'chunk' || NEW.ordinal) THEN
        RAISE 'told to stop' USING ERRCODE = 'io_error';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER stop_chunk BEFORE UPDATE ON pgferry.chunk FOR EACH ROW EXECUTE FUNCTION stop_chunk();
"""
SALES = ("sales",)
TASKS = (
    a_task("ddl", Kind.SQL, file=a_file("1.sql", UP), down=a_file("1.down.sql", DOWN)),
    a_task("sync", Kind.SYNC, mappings=SALES),
    a_task("copy", Kind.BACKFILL, mappings=SALES, backfill=BackfillSettings(batch_rows=30, max_reject_percent=90)),
    a_task("compare", Kind.CHECK, mappings=SALES),
    a_task("reverse", Kind.SYNC, mappings=SALES, direction=Direction.REVERSE),
    a_task("both", Kind.SWITCH, mappings=SALES, leads=Leads.BOTH),
    a_task("new", Kind.SWITCH, mappings=SALES, leads=Leads.NEW, leads_back=Leads.BOTH),
    a_task("again", Kind.CHECK, mappings=SALES),
    a_task("drain", Kind.DRAIN, mappings=SALES, quiet_seconds=0),
    a_task("retire", Kind.RETIRE, mappings=SALES),
    a_task("late", Kind.SQL, file=a_file("2.sql", LATE), down=a_file("2.down.sql", LATE_DOWN)),
)
BOTH_AT_ONCE = (
    TASKS[0],
    a_task("sync", Kind.SYNC, mappings=SALES, direction=Direction.BOTH),
    *(task for task in TASKS[2:] if task.id != "reverse"),
)
INSIDE = {"ddl": ("u1", "u2"), "copy": ("chunk1", "chunk2", "chunk3"), "late": ("u3",)}


class Layout:
    """A plan and where its tasks stand."""

    def __init__(self, tasks: tuple[Task, ...]) -> None:
        self.plan = a_plan(*tasks)
        self.ids = [task.id for task in tasks]
        self.copy, self.retire, self.end = self.ids.index("copy"), self.ids.index("retire"), len(tasks)


LAYOUTS = {"one direction after the other": Layout(TASKS), "both directions at once": Layout(BOTH_AT_ONCE)}

AMOUNTS = st.one_of(
    st.none(), st.integers(1, 999_999).map(Decimal), st.just(Decimal("2000000")), st.just(Decimal("0.00000352"))
)
NOTES = st.one_of(st.none(), st.sampled_from(["", "x", "it's", "ü\\n"]))
OPS = st.lists(
    st.builds(
        Op,
        kind=st.sampled_from(["insert", "upsert", "update", "update", "key", "delete"]),
        pick=st.integers(0, 10_000),
        spelling=st.integers(0, 10_000),
        amount=AMOUNTS,
        note=NOTES,
    ),
    max_size=12,
)


class Walk:
    """One example: a database, a run, and the model of what applications wrote."""

    def __init__(self, server: EmbeddedServer, layout: Layout) -> None:
        self.server, self.layout = server, layout
        self.name = f"walk_{uuid.uuid4().hex[:12]}"
        self.database = server.create_database(self.name)
        self.conn: Conn = a_database(self.database, rows=ROWS)
        self.conn.execute(STOPS)
        self.run_id = a_run(self.database, layout.plan)
        self.conn.execute(CHUNKS)
        self.model: Model = of_table(self.conn)

    def close(self) -> None:
        self.conn.close()
        self.server.drop_database(self.name)

    def dump(self) -> str:
        return dump(self.database, self.server.binaries.dir)

    def forward(self, before: int, *, stop: str = "") -> None:
        """To just before that task; with ``stop`` into it, as far as that."""
        if before > 0:
            goal = RunStatus.DONE if before == self.layout.end else RunStatus.WAITING
            self._expect(goal, Verb.START, until=self.layout.ids[before - 1])
        if stop:
            self.conn.execute("INSERT INTO stops VALUES (%s)", (stop,))
            self._expect(RunStatus.FAILED, Verb.START, until=self.layout.ids[before])
            self.conn.execute("DELETE FROM stops")

    def _expect(self, wanted: RunStatus, verb: Verb, **args: object) -> None:
        status, answer = order(self.database, self.layout.plan, self.run_id, verb, **args)
        assert status is wanted, (status, answer, state_of(self.database, self.run_id).error)

    def write(self, ops: list[Op], *, lossy: bool) -> None:
        """Through every shape that is open to applications; ``lossy``: also what cannot be carried back."""
        leads = (self.conn.execute("SELECT leads FROM pgferry.lead").fetchone() or ("old",))[0]
        carried = one(self.conn, "SELECT count(*) FROM pg_trigger WHERE tgname = 'zz_pgferry_reverse'") > 0
        copied = state_of(self.database, self.run_id).tasks[self.layout.copy].status.value == "completed"
        for op in ops:
            if leads == "new" or (leads == "both" and op.pick % 2):
                self.model.through_new(self.conn, op, carried=carried, refusable=lossy)
            elif lossy and copied and not carried and op.pick % 3 == 0:
                self.model.through_new(self.conn, op, carried=False, refusable=True)
            else:
                self.model.through_old(self.conn, op)

    def back(self, to: int, stop: str) -> None:
        """Back to just before that task, stopped once on the way; what would be lost has to be accepted by typing."""
        target = "start" if to == 0 else self.layout.ids[to]
        if stop:
            self.conn.execute("INSERT INTO stops VALUES (%s)", (stop,))
        status, answer = order(self.database, self.layout.plan, self.run_id, Verb.ROLLBACK, to=target)
        self.conn.execute("DELETE FROM stops")
        if status is RunStatus.FAILED and "told to stop" in state_of(self.database, self.run_id).error:
            status, answer = order(self.database, self.layout.plan, self.run_id, Verb.RESUME)
        if to <= self.layout.copy:
            self.model.carry_strays()
            if self.model.refused:
                said = answer + state_of(self.database, self.run_id).error
                assert "would lose" in said or "loses data" in said, (status, said)
                assert "ype " in said
                name = self.conn.info.dbname
                status, answer = order(
                    self.database, self.layout.plan, self.run_id, Verb.ROLLBACK, to=target, typed=name
                )
                self.model.refused.clear()
        wanted = RunStatus.ROLLED_BACK if to == 0 else RunStatus.WAITING
        assert status is wanted, (status, answer, state_of(self.database, self.run_id).error)


@pytest.fixture(scope="module", autouse=True)
def impatient() -> Iterator[None]:
    """Whoever writes here writes between the steps: the quiet before a reverse sync goes can be short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dual_write, "PARTING_QUIET_S", 0.02)
        yield


@pytest.fixture(scope="module")
def ends(server: EmbeddedServer) -> dict[str, str]:
    """The schema at the end of an undisturbed run, of each layout."""
    found = {}
    for name, layout in LAYOUTS.items():
        walk = Walk(server, layout)
        walk.forward(layout.end)
        found[name] = walk.dump()
        walk.close()
    return found


Way = tuple[str, int, str, int, str]


@st.composite
def ways(draw: st.DrawFn) -> Way:
    """(layout, position, stop inside of its task or nothing, where back to, stop on the way back or nothing)."""
    name = draw(st.sampled_from(sorted(LAYOUTS)))
    layout = LAYOUTS[name]
    position = draw(st.integers(0, layout.end))
    inside = INSIDE.get(layout.ids[position], ()) if position < layout.end else ()
    stop = draw(st.sampled_from(["", *inside]))
    return name, position, stop, draw(st.integers(0, position)), draw(st.sampled_from(["", "d1", "d2", "d3"]))


def _there_and_back(
    server: EmbeddedServer, ends: dict[str, str], way: Way, early: list[Op], late: list[Op], last: list[Op]
) -> None:
    name, position, stop, to, back_stop = way
    layout = LAYOUTS[name]
    walk = Walk(server, layout)
    try:
        walk.write(early, lossy=False)
        walk.forward(to)
        there = walk.dump()
        if position > to or stop:
            walk.forward(position, stop=stop)
        walk.write(late, lossy=to <= layout.copy < position)
        if to < position or stop:
            walk.back(to, back_stop)
        assert walk.dump() == there
        walk.model.check_old(walk.conn, "sales" if to <= layout.retire else "pgferry_archive.sales")
        if to < layout.copy:
            assert one(walk.conn, "SELECT count(*) FROM sales_v2") == 0
        walk.write(last, lossy=False)
        walk.forward(layout.end)
        walk.model.check_old(walk.conn, "pgferry_archive.sales")
        walk.model.check_new(walk.conn)
        assert walk.dump() == ends[name]
    finally:
        walk.close()


QUIET = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


@settings(max_examples=4, deadline=None, derandomize=True, database=None, suppress_health_check=QUIET)
@given(way=ways(), early=OPS, late=OPS, last=OPS)
def test_going_back_gives_schema_and_rows_back(
    server: EmbeddedServer, ends: dict[str, str], way: Way, early: list[Op], late: list[Op], last: list[Op]
) -> None:
    _there_and_back(server, ends, way, early, late, last)


@pytest.mark.long
@settings(max_examples=100, deadline=None, database=None, suppress_health_check=QUIET, print_blob=True)
@given(way=ways(), early=OPS, late=OPS, last=OPS)
def test_going_back_from_anywhere_gives_schema_and_rows_back(
    server: EmbeddedServer, ends: dict[str, str], way: Way, early: list[Op], late: list[Op], last: list[Op]
) -> None:
    _there_and_back(server, ends, way, early, late, last)
