"""Random writes of every kind through both shapes while a run copies, pauses, switches and goes back: none is lost."""

from __future__ import annotations

import os
import random
import time
import uuid
from collections import Counter
from dataclasses import replace

import pytest

from console.demo.server import EmbeddedServer
from console.engine import dual_write
from console.journal.connect import Conn
from console.journal.state import RunStatus, Verb
from console.plan.model import BackfillSettings, Direction, Kind, Leads, Mapping, Plan, TableName, Triggers
from tests.engine.scene import MAPPING, a_database, a_plan, a_run, a_task, order
from tests.faults.history import Clerk, Gate, History, Side, Writer, assert_as_written, start_rows
from tests.faults.tools import assert_equal, chunks_done, runner_thread, send, state_of, until

_NAMED = (("shop", "text"), ("item", "text"), ("amount", "numeric"), ("note", "text"))
_GOOD = (("good_id", "integer"), ("amount", "numeric"), ("note", "text"))
SURROGATE = {
    "old": Side("sales", (("at", "timestamptz"), *_NAMED), 3, named=True, numbered=False),
    "new": Side("sales_v2", (("at", "timestamptz"), *_GOOD), 2, named=False, numbered=False),
}
ID_AS_KEY = {
    "old": Side("tickets", (("id", "bigint"), *_NAMED), 1, named=True, numbered=True),
    "new": Side("tickets_v2", (("id", "bigint"), *_GOOD), 1, named=False, numbered=True),
}
TICKETS = """
CREATE TABLE tickets (id bigint PRIMARY KEY, shop text NOT NULL, item text NOT NULL, amount numeric CHECK (amount > 0), note text);
CREATE TABLE tickets_v2 (id bigint PRIMARY KEY, good_id integer NOT NULL REFERENCES goods, amount numeric CHECK (amount < 1000000),
    note text);
"""
BY_ID = replace(
    MAPPING, id="tickets", old=TableName("public", "tickets"), new=TableName("public", "tickets_v2"),
    old_key=("id",), new_key=("id",),
    columns=(("id", "o.id"), ("good_id", "g.good_id"), ("amount", "o.amount"), ("note", "o.note")),
    back=(("id", "n.id"), ("shop", "g.shop"), ("item", "g.item"), ("amount", "n.amount"), ("note", "n.note")),
)  # fmt: skip
LAYOUTS = {"surrogate": (MAPPING, SURROGATE), "id as key": (BY_ID, ID_AS_KEY)}
SLOW = BackfillSettings(batch_rows=20, target_ms=5, max_rows_per_second=400, workers=2, max_reject_percent=90)


def plan_of(mapping: Mapping, *, at_once: bool) -> Plan:
    """Sync, copy, compare, the way back, a switch to both, a comparison at the end."""
    of = (mapping.id,)
    return a_plan(
        a_task("sync", Kind.SYNC, mappings=of, direction=Direction.BOTH if at_once else Direction.FORWARD),
        a_task("copy", Kind.BACKFILL, mappings=of, backfill=SLOW),
        a_task("compare", Kind.CHECK, mappings=of),
        *(() if at_once else (a_task("reverse", Kind.SYNC, mappings=of, direction=Direction.REVERSE),)),
        a_task("both", Kind.SWITCH, mappings=of, leads=Leads.BOTH),
        a_task("new", Kind.SWITCH, mappings=of, leads=Leads.NEW, leads_back=Leads.BOTH),
        a_task("again", Kind.CHECK, mappings=of),
        mapping=mapping,
    )


class Example:
    """One database, one run and its writers."""

    def __init__(self, server: EmbeddedServer, seed: int) -> None:
        self.chance = random.Random(seed)
        self.layout = self.chance.choice(sorted(LAYOUTS))
        mapping, self.sides = LAYOUTS[self.layout]
        self.at_once = self.chance.random() < 0.5
        triggers = self.chance.choice((Triggers.ROW, Triggers.ROW, Triggers.STATEMENT))
        self.mapping = replace(mapping, triggers=triggers)
        self.server, self.name = server, f"history_{uuid.uuid4().hex[:12]}"
        self.database = server.create_database(self.name)
        self.conn: Conn = a_database(self.database)
        self.conn.execute(TICKETS)
        self.history, self.gate = History(), Gate()
        start_rows(self.conn, self.sides["old"], self.history)
        self.plan = plan_of(self.mapping, at_once=self.at_once)
        self.run_id = a_run(self.database, self.plan)
        self.writers = [
            Writer(self.database, self.sides, self.gate, self.history, f"{seed} {number}")
            for number in range(self.chance.randrange(2, 5))
        ]
        self.truncates = self.chance.random() < 0.3
        self.writers[0].truncates = self.truncates
        self.clerk = Clerk(self.database, str(seed)) if self.chance.random() < 0.4 else None

    def __str__(self) -> str:
        return (
            f"{self.layout}, {self.mapping.triggers.value} triggers, {len(self.writers)} writers,"
            f" {'both at once' if self.at_once else 'one after the other'}, truncates: {self.truncates},"
            f" clerk: {self.clerk is not None}"
        )

    def play(self) -> Counter[str]:
        """The whole life of the run; returns what the writers did."""
        self.gate.let("old")
        threads: list[Writer | Clerk] = [*self.writers, *([self.clerk] if self.clerk else [])]
        for thread in threads:
            thread.start()
        try:
            self._through()
        finally:
            for thread in threads:
                thread.ended.set()
            for thread in threads:
                thread.join(30)
        assert [fault for thread in threads for fault in thread.failed] == [], str(self)
        self.history.counts["changes of lookups"] = self.clerk.changes if self.clerk else 0
        assert_equal_but_for_rejects(self)
        assert_as_written(self.conn, self.sides, self.history)
        return self.history.counts

    def _through(self) -> None:
        self._to("sync")
        if self.at_once:
            self.gate.let("old", "new")
        self._copy()
        self._to("compare")
        if not self.at_once:
            self._to("reverse")
        self.gate.let("old", "new")
        self._to("both" if self.chance.random() < 0.5 else "new")
        if self.chance.random() < 0.5:
            self._back(self.chance.choice(("both", "copy", "sync") if self.at_once else ("both", "reverse", "copy")))
            self.gate.let("old", "new")
        self._to("again", RunStatus.DONE)

    def _to(self, task: str, goal: RunStatus = RunStatus.WAITING) -> None:
        if self.clerk and self.plan.task(task).kind is Kind.CHECK:
            self.clerk.rest()
        status, answer = order(self.database, self.plan, self.run_id, Verb.START, until=task)
        assert status is goal, (str(self), task, status, answer, state_of(self.database, self.run_id).error)
        if self.clerk and goal is not RunStatus.DONE:
            self.clerk.works.set()

    def _copy(self) -> None:
        """The copy; paused once on the way, perhaps."""
        send(self.database, self.run_id, Verb.START, until="copy")
        pauses = self.chance.random() < 0.5
        with runner_thread(self.database, self.plan, self.run_id) as running:
            if pauses:
                until(lambda: running.done() or chunks_done(self.conn) >= 2, "some batches")
                send(self.database, self.run_id, Verb.PAUSE)
            status = running.result(60)
        if status is RunStatus.PAUSED:
            status, _ = order(self.database, self.plan, self.run_id, Verb.RESUME)
        assert status is RunStatus.WAITING, (str(self), status, state_of(self.database, self.run_id).error)

    def _back(self, to: str) -> None:
        """Back to just before a task, with the new side closed; then forward to before the switches again."""
        self.gate.let("old")
        if self.clerk:  # what cannot be carried back under its names of the moment would be lost
            self.clerk.rest()
        self._take_back_what_only_new_holds()
        status, answer = order(self.database, self.plan, self.run_id, Verb.ROLLBACK, to=to)
        said = (str(self), to, status, answer, state_of(self.database, self.run_id).error)
        assert status in (RunStatus.WAITING, RunStatus.ROLLED_BACK), said
        self.history.counts[f"back to {to}"] += 1
        self._to("compare") if to in ("copy", "sync") else None
        self._to("both")

    def _take_back_what_only_new_holds(self) -> None:
        """What the old shape does not take would be lost on the way back: its writer deletes it."""
        began = time.monotonic()
        rows = self.conn.execute(f"DELETE FROM {self.sides['new'].table} WHERE amount <= 0 RETURNING note").fetchall()
        effects = [(int(row[0].partition(":")[0]), began, None, False) for row in rows]
        self.history.add("new", effects, time.monotonic())

    def close(self) -> None:
        self.conn.close()
        self.server.drop_database(self.name)


def assert_equal_but_for_rejects(example: Example) -> None:
    """The two tables hold the same, but for what is listed as refused, and every reject is a row that is there."""
    assert_equal(example.database, example.plan, example.mapping.id)
    example.conn.execute("SET timezone = 'UTC'")
    for direction, side in (("forward", example.sides["old"]), ("reverse", example.sides["new"])):
        stale = example.conn.execute(
            f"SELECT r.* FROM pgferry.reject r WHERE r.direction = '{direction}'"
            f" AND NOT EXISTS (SELECT 1 FROM {side.table} t WHERE to_jsonb(t) = r.row_data)".encode()
        ).fetchall()
        assert stale == [], str(example)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dual_write, "PARTING_QUIET_S", 0.02)


def _example(server: EmbeddedServer, seed: int) -> Counter[str]:
    example = Example(server, seed)
    try:
        return example.play()
    finally:
        example.close()


@pytest.mark.parametrize("seed", [2, 1002])
def test_no_write_is_lost_whatever_the_run_does(server: EmbeddedServer, seed: int) -> None:
    counts = _example(server, seed)
    assert counts["committed old"] > 20
    assert counts["committed new"] > 0


@pytest.mark.long
def test_no_write_is_lost_in_a_long_campaign(server: EmbeddedServer) -> None:
    """As many examples as PGFERRY_EXAMPLES says; a failure names its seed."""
    start = int(os.environ.get("PGFERRY_SEED", "1000"))
    total: Counter[str] = Counter()
    for seed in range(start, start + int(os.environ.get("PGFERRY_EXAMPLES", "60"))):
        try:
            total += _example(server, seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    print(dict(total))
