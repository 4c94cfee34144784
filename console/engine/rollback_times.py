"""How long each step of a way back takes: as it was seen in this run, else from rows and the rates seen in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from console.engine.dual_write import PARTING_LIMIT_S, PARTING_QUIET_S
from console.engine.way_back import rows_of_old
from console.journal.connect import Conn
from console.plan.model import Direction, Kind, Mapping, Plan, Task

ASSUMED_ROWS = 100_000  # rows compared a second where nothing was seen yet; one core of the embedded server does more
CATALOGUE_S = 0.1  # a statement that only changes the catalogue, its locks at once
EMPTY_S = 0.3  # what comes with comparing: triggers, what was refused carried again, locks, TRUNCATE
CONNECTIONS = 2  # of a comparison that is no task of the plan


_IDLE = (Kind.CHECK, Kind.DRAIN, Kind.GATE, Kind.PURGE)


@dataclass(frozen=True, slots=True)
class Expected:
    """Seconds, None where nobody knows, and what they were taken from."""

    seconds: float | None
    basis: str


@dataclass(frozen=True, slots=True)
class _Rate:
    rows_per_second: float
    words: str


def empties(task: Task) -> bool:
    """Whether undoing the task empties the new table."""
    return task.kind is Kind.BACKFILL or (task.kind is Kind.SYNC and Direction.FORWARD in task.direction.ways)


Reading = Callable[[Task], Expected | None]  # what the text of a task's way back says, and a rehearsal of it


def expected(
    conn: Conn, plan: Plan, run_id: int, tasks: tuple[Task, ...], reading: Reading | None = None
) -> dict[str, Expected]:
    """What to expect of each task's way back: as it went in this run, as it was read, as its way forward went."""
    seen = _taken_back(conn, run_id)
    forward = _forward(conn, run_id)
    found: dict[str, Expected] = {}
    for task in tasks:
        if task.kind in _IDLE:
            found[task.id] = of_its_kind(task)
        elif empties(task):
            found[task.id] = _comparing(conn, plan, run_id, task)
        elif task.id in seen:
            seconds, clock = seen[task.id]
            found[task.id] = Expected(seconds, f"as when it was taken back at {clock}")
        elif task.kind is Kind.SQL and task.down is not None:
            read = reading(task) if reading else None
            took = Expected(forward[task.id], "as long as its way forward took") if task.id in forward else None
            found[task.id] = read or took or Expected(None, "it never ran, and its text does not tell")
        else:
            found[task.id] = of_its_kind(task)
    return found


def of_its_kind(task: Task) -> Expected:
    """What is known of the way back of a task without any database, run or file."""
    if empties(task):
        return Expected(None, "it depends on how many rows there are")
    match task.kind:
        case Kind.SYNC:
            words = (
                f"waits until nobody has written to the new side for {PARTING_QUIET_S:.0f} s,"
                f" {PARTING_LIMIT_S:.0f} s at most"
            )
            return Expected(PARTING_QUIET_S + CATALOGUE_S, words)
        case Kind.RETIRE:
            return Expected(CATALOGUE_S * max(len(task.mappings), 1), "only the catalogue changes")
        case Kind.SWITCH:
            return Expected(0.0, "one row of the journal")
        case _:
            return Expected(0.0, "nothing runs")


def _taken_back(conn: Conn, run_id: int) -> dict[str, tuple[float, str]]:
    """(seconds, clock) of each task's last way back in this run that came to its end."""
    rows = conn.execute(
        "SELECT DISTINCT ON (task_id) task_id, extract(epoch FROM ended - at)::float, to_char(ended, 'HH24:MI:SS') FROM ("
        " SELECT task_id, at, data->>'edge' AS edge, data->>'way' AS way, lead(at) OVER w AS ended,"
        " lead(task_id) OVER w AS next, lead(text) OVER w AS said FROM pgferry.event"
        " WHERE run_id = %s AND data ? 'edge' WINDOW w AS (ORDER BY id)) e"
        " WHERE edge = 'begin' AND way = 'back' AND next = task_id AND starts_with(said, 'taken back in')"
        " ORDER BY task_id, at DESC",
        (run_id,),
    ).fetchall()
    return {task_id: (seconds, clock) for task_id, seconds, clock in rows}


def _forward(conn: Conn, run_id: int) -> dict[str, float]:
    """How long each task's statements took forward in this run, waits for locks left out."""
    rows = conn.execute(
        "SELECT task_id, sum(ms) / 1000 FROM pgferry.statement WHERE run_id = %s AND direction = 'up' GROUP BY 1",
        (run_id,),
    ).fetchall()
    return {task_id: float(seconds) for task_id, seconds in rows}


def _comparing(conn: Conn, plan: Plan, run_id: int, task: Task) -> Expected:
    """Before the new side is emptied every row is compared: rows of the old side at the rate that was seen."""
    seconds = PARTING_QUIET_S if Direction.REVERSE in task.direction.ways and task.kind is Kind.SYNC else EMPTY_S
    words = []
    for mapping in (plan.mapping(id_) for id_ in task.mappings):
        rows, rate = rows_of_old(conn, plan.archive_schema, mapping), _rate(conn, plan, run_id, mapping)
        seconds += rows / rate.rows_per_second
        words.append(f"about {rows:,} rows of {mapping.old} to compare at {rate.rows_per_second:,.0f}/s, {rate.words}")
    return Expected(seconds, "; ".join(words))


def _rate(conn: Conn, plan: Plan, run_id: int, mapping: Mapping) -> _Rate:
    """Rows a second that one connection compares: of the last way back, else the last comparison, else the copy."""
    back = conn.execute(
        "SELECT (data->>'compared')::float / ((data->>'ms')::float / 1000) FROM pgferry.event"
        " WHERE run_id = %s AND data->>'mapping' = %s AND (data->>'compared')::float > 0"
        " ORDER BY id DESC LIMIT 1",
        (run_id, mapping.id),
    ).fetchone()
    if back:
        return _Rate(back[0], "as on the last way back")
    compared = conn.execute(
        "SELECT replace(substring(words FROM '^([0-9,]+) old'), ',', '')::float / (ms / 1000), origin"
        " FROM pgferry.comparison WHERE mapping = %s AND ms > 0 ORDER BY id DESC LIMIT 1",
        (mapping.id,),
    ).fetchone()
    if compared and compared[0]:
        at_once = {task.id: task.connections for task in plan.tasks}.get(compared[1], CONNECTIONS)
        return _Rate(compared[0] / at_once, "as a connection did in the last comparison")
    copied = conn.execute(
        "SELECT sum(rows_read)::float / (sum(ms) / 1000) FROM pgferry.chunk WHERE mapping = %s AND ms > 0"
        " HAVING sum(rows_read) > 0",
        (mapping.id,),
    ).fetchone()
    return _Rate(copied[0], "as they were copied") if copied else _Rate(ASSUMED_ROWS, "assumed")
