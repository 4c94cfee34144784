"""Rows and a way back: what was written through the new shape, what stays where, what nothing would bring back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from console.engine import contract, dropped_rows
from console.engine.derive import table
from console.engine.dual_write import PARTING_LIMIT_S, PARTING_QUIET_S
from console.engine.facts import archived
from console.engine.rollback_times import empties
from console.journal import comparisons
from console.journal.connect import Conn
from console.journal.state import RowsAtRisk, RowsWritten
from console.plan.model import Direction, Kind, Mapping, Plan, TableName, Task

LOOK_S = 0.25  # how long writes are counted to say whether applications write to the new side now


@dataclass(frozen=True, slots=True)
class Found:
    """What going back means for rows, as figures and in sentences; fields as of a RollbackPreview."""

    written: tuple[RowsWritten, ...]
    at_risk: tuple[RowsAtRisk, ...]
    goes: tuple[RowsAtRisk, ...]
    loses: tuple[str, ...]
    facts: tuple[str, ...]
    before: tuple[str, ...]
    at: datetime


def look(conn: Conn, plan: Plan, run_id: int, tasks: tuple[Task, ...]) -> Found:
    """Everything about rows that undoing these tasks touches."""
    emptied = _mappings(plan, (task for task in tasks if empties(task)))
    partings = [t for t in tasks if t.kind is Kind.SYNC and Direction.REVERSE in t.direction.ways]
    parted, parting = _mappings(plan, partings), partings[0].id if partings else ""
    touched = _mappings(plan, tasks)
    carried = [m for m in touched if contract.synced(conn, m, Direction.REVERSE, _old(conn, plan, m))]
    written = _written(conn, plan, run_id, carried, sampled=[m for m in parted if m in carried])
    dropped = dropped_rows.going(tasks, (str(m.new) for m in emptied))
    others, own = dropped_rows.rows_of(conn, dropped, plan)
    refused = _refused(conn, emptied)
    return Found(
        written=written,
        at_risk=(*refused, *others),
        goes=own,
        loses=(*(_refused_words(risk) for risk in refused), *(_dropped_words(risk) for risk in others)),
        facts=(
            *(_written_words(one) for one in written),
            *_uncarried(conn, [m for m in emptied if m not in carried]),
            *_stay(conn, touched),
            *_own_words(own),
        ),
        before=_before(written, parting),
        at=comparisons.now(conn),
    )


def _mappings(plan: Plan, tasks: Iterable[Task]) -> list[Mapping]:
    ids = {id_ for task in tasks for id_ in task.mappings}
    return [mapping for mapping in plan.mappings if mapping.id in ids]


def _old(conn: Conn, plan: Plan, mapping: Mapping) -> TableName:
    there = archived(mapping.old, plan.archive_schema)
    row = conn.execute("SELECT to_regclass(%s) IS NOT NULL", (table(there).as_string(None),)).fetchone()
    return there if row and row[0] else mapping.old


def _written(
    conn: Conn, plan: Plan, run_id: int, carried: list[Mapping], *, sampled: list[Mapping]
) -> tuple[RowsWritten, ...]:
    since = _since(conn, plan, run_id)
    found = [
        RowsWritten(m.id, str(m.new), str(_old(conn, plan, m)), contract.writes_through_new(conn, m), since.get(m.id))
        for m in carried
    ]
    if not sampled:
        return tuple(found)
    began = time.monotonic()
    time.sleep(LOOK_S)
    ids = {mapping.id for mapping in sampled}
    again = {mapping.id: contract.writes_through_new(conn, mapping) for mapping in sampled}
    passed = time.monotonic() - began
    return tuple(
        replace(one, per_second=(again[one.mapping] - one.writes) / passed, writes=again[one.mapping])
        if one.mapping in ids
        else one
        for one in found
    )


def _since(conn: Conn, plan: Plan, run_id: int) -> dict[str, datetime]:
    """When the reverse sync of each mapping was on, by the server's clock."""
    rows: dict[str, datetime | None] = dict(
        conn.execute(
            "SELECT task_id, finished_at FROM pgferry.task WHERE run_id = %s AND status = 'completed'", (run_id,)
        ).fetchall()
    )
    return {
        id_: at
        for task in plan.tasks
        if task.kind is Kind.SYNC and Direction.REVERSE in task.direction.ways and (at := rows.get(task.id))
        for id_ in task.mappings
    }


def _refused(conn: Conn, emptied: list[Mapping]) -> tuple[RowsAtRisk, ...]:
    """What the old shape refused of tables that would be emptied, each reason with its first keys."""
    names = {mapping.id: mapping for mapping in emptied}
    rows = conn.execute(
        "SELECT mapping, reason, count(*), (array_agg(key ORDER BY key))[1:3] FROM pgferry.reject"
        " WHERE direction = 'reverse' AND mapping = ANY (%s) GROUP BY 1, 2 ORDER BY 1, 2",
        (sorted(names),),
    ).fetchall()
    return tuple(
        RowsAtRisk(
            str(names[mapping].new),
            count,
            True,
            f"{names[mapping].old} cannot hold them: {reason}",
            tuple(json.dumps(key, ensure_ascii=False) for key in keys),
        )
        for mapping, reason, count, keys in rows
    )


def _refused_words(risk: RowsAtRisk) -> str:
    return f"{dropped_rows.in_words(risk)}: {risk.why}, for instance {', '.join(risk.keys)}"


def _dropped_words(risk: RowsAtRisk) -> str:
    return f"{dropped_rows.in_words(risk)}: {risk.why}"


def _written_words(one: RowsWritten) -> str:
    since = f" since {one.since:%H:%M:%S}" if one.since else ""
    return f"{one.writes:,} writes through {one.new}{since} are already in {one.old}: nothing to copy"


def _uncarried(conn: Conn, emptied: list[Mapping]) -> list[str]:
    """Tables that are emptied and whose writes nothing carries back now: what is known of rows only they hold."""
    newest = {one.mapping: one for one in comparisons.newest(conn)}
    said = []
    for mapping in emptied:
        last = newest.get(mapping.id)
        known = f"; compared at {last.at:%H:%M:%S}: {last.words}" if last else ""
        said.append(
            f"rows that only {mapping.new} holds are looked for and carried to {mapping.old} before it is emptied"
            f" (if one cannot be, it is not){known}"
        )
    return said


def _stay(conn: Conn, touched: list[Mapping]) -> list[str]:
    rows = conn.execute(
        "SELECT mapping, count(*) FROM pgferry.reject WHERE direction = 'forward' AND mapping = ANY (%s)"
        " GROUP BY 1 ORDER BY 1",
        ([mapping.id for mapping in touched],),
    ).fetchall()
    olds = {mapping.id: mapping.old for mapping in touched}
    return [f"{count:,} rows that the new shape refused stay in {olds[mapping]}" for mapping, count in rows]


def _own_words(own: tuple[RowsAtRisk, ...]) -> list[str]:
    if not own:
        return []
    return [f"rows that this plan wrote go with their tables: {', '.join(dropped_rows.in_words(one) for one in own)}"]


def _before(written: tuple[RowsWritten, ...], parting: str) -> tuple[str, ...]:
    """The sync back goes only when nobody writes to the new side."""
    sampled = [one for one in written if one.per_second is not None]
    if not sampled:
        return ()
    busy = [f"{one.per_second:,.0f}/s through {one.new}" for one in sampled if one.per_second]
    now = f"applications write {', '.join(busy)} now" if busy else "no application writes to the new side now"
    names = ", ".join(one.new for one in sampled)
    return (
        f"{now}; at {parting} they have to be gone from {names}: {PARTING_QUIET_S:.0f} s without a write are waited for,"
        f" {PARTING_LIMIT_S:.0f} s at most, else it stops there and nothing is lost",
    )
