"""``pgferry status``: where the newest run stands, with no more loaded than that takes."""

from __future__ import annotations

import json
from dataclasses import replace

from console.commands.settings import Settings
from console.errors import PlanError
from console.headless.report import report_json, status_text
from console.headless.streams import say
from console.journal import admission, events, read, runs, schema, traffic
from console.journal.connect import Conn, connect, in_a_sentence
from console.journal.look import Look
from console.journal.settle import READER_TIMEOUT
from console.journal.state import RunState
from console.plan.approval import Person, Wanted


def status(settings: Settings, output: str) -> int:
    """Print where the newest run stands; with a plan's files, the newest of that plan."""
    state = _of_plan(settings) if settings.plan_dir else _newest(settings)
    say(json.dumps(report_json(state), indent=2, default=str) if output == "json" else status_text(state))
    return 0


def no_run() -> PlanError:
    """Nothing was ever started here."""
    return PlanError("No run of pgferry is known in this database.", do="Start one: pgferry run --plan DIR.")


def _of_plan(settings: Settings) -> RunState:
    from console.commands.world import JournalWorld
    from console.plan.load import load_plan

    assert settings.plan_dir is not None
    world = JournalWorld(settings, load_plan(settings.plan_dir, settings.layout), control=False)
    try:
        return world.audited()
    finally:
        world.close()


def _newest(settings: Settings) -> RunState:
    conn = connect(settings.dsn, application_name="pgferry status", read_only=True, statement_timeout=READER_TIMEOUT)
    try:
        with in_a_sentence():
            return Look(seldom=False).read(conn, lambda looking: _read(looking, settings.environment))
    finally:
        conn.close()


def _read(conn: Conn, environment: str) -> RunState:
    row = runs.latest(conn, None) if schema.installed(conn) else None
    if row is None:
        raise no_run()
    state = read.run_state(conn, row.id, environment=environment, tally=traffic.Tally())
    stands = admission.read_standing(conn, Wanted(state.plan_id, state.plan_sha256), None, Person(state.operator))
    return replace(state, approval=stands, audit=events.audit(conn, row.id))
