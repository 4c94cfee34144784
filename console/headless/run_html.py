"""A run as one HTML page: what became of it, when each task ran, how the copies went and what applications felt."""

from __future__ import annotations

from datetime import datetime

from console.headless import charts, html
from console.headless.charts import Bar, Line
from console.headless.report import RIGHT, Section, run_facts, sections
from console.journal.public import public
from console.journal.recording import Recording
from console.journal.state import RunState, RunStatus, TaskStatus
from console.journal.traffic import Window


def run_html(state: RunState, recorded: Recording) -> str:
    """The page of a run, without secrets: ``state`` as it stands, ``recorded`` how it came there."""
    state = public(state)
    seconds = (recorded.ended - recorded.began).total_seconds()
    title = f"Run {state.run_id}: {state.plan_title}"
    body = [f"<h1>{html.text(title)}</h1>", html.facts(run_facts(state))]
    body += [
        "<h2>Over time</h2>",
        *charts.bars("The run and its tasks", [*run_bars(recorded), *task_bars(recorded)], seconds),
    ]
    body += charts.lines("Rows copied and compared", progress_lines(recorded), seconds, "rows")
    body += charts.lines("What applications felt (p99 of 5 s)", latency_lines(recorded), seconds, "ms")
    for section in sections(state):
        body += _section(section)
    return html.page(title, body)


def _section(section: Section) -> list[str]:
    title, names, rows = section
    return [f"<h2>{html.text(title)}</h2>", *html.table(names, rows, RIGHT.get(title, ()), wide=True)]


_TONES = {RunStatus.RUNNING: "ok", RunStatus.ROLLING_BACK: "warn", RunStatus.FAILED: "bad"}
_ENDS = (RunStatus.NEW, RunStatus.DONE, RunStatus.ROLLED_BACK)


def run_bars(recorded: Recording) -> list[Bar]:
    """How the run stood when: a row for each status it had, the ends left out."""
    frames = [frame for frame in recorded.frames if frame.kind == "run"]
    found = []
    for frame, following in zip(frames, [*frames[1:], None], strict=True):
        status = RunStatus(frame.payload["status"])
        ended = following.at if following else recorded.ended
        if status not in _ENDS:
            found.append(_bar(recorded, f"the run: {status.value}", frame.at, ended, _TONES.get(status, "dim")))
    return found


def task_bars(recorded: Recording) -> list[Bar]:
    """When each task was at work, in the order of the plan; green where it was completed, red where it failed."""
    began: dict[str, datetime] = {}
    found: dict[str, list[Bar]] = {task.id: [] for task in recorded.tasks}
    names = {task.id: f"{task.id} {task.title}" for task in recorded.tasks}
    for frame in (frame for frame in recorded.frames if frame.kind == "task"):
        status = frame.payload["status"]
        if status == TaskStatus.IN_PROGRESS:
            began.setdefault(frame.name, frame.at)
        elif frame.name in began and frame.name in found:
            tone = {TaskStatus.COMPLETED: "ok", TaskStatus.FAILED: "bad"}.get(TaskStatus(status), "dim")
            found[frame.name].append(_bar(recorded, names[frame.name], began.pop(frame.name), frame.at, tone))
    for name, at in began.items():
        found[name].append(_bar(recorded, names[name], at, recorded.ended, "dim"))
    return [bar for bars in found.values() for bar in bars]


def _bar(recorded: Recording, name: str, began: datetime, ended: datetime, tone: str) -> Bar:
    return Bar(name, _second(recorded, began), _second(recorded, ended), tone)


def _second(recorded: Recording, at: datetime) -> float:
    return (at - recorded.began).total_seconds()


def progress_lines(recorded: Recording) -> list[Line]:
    """Rows read by each copy and comparison, over time; one that begins anew is a line of its own."""
    found: list[tuple[str, list[tuple[float, float]]]] = []
    newest: dict[str, list[tuple[float, float]]] = {}
    for frame in recorded.frames:
        if frame.kind == "live" and frame.name.startswith("progress:") and frame.payload:
            point = _second(recorded, frame.at), float(frame.payload["rows_done"])
            line = newest.get(frame.name)
            if line is None or point[1] < line[-1][1]:
                line = newest[frame.name] = []
                found.append((f"{frame.payload['what']} {frame.payload['mapping']}", line))
            line.append(point)
    return [Line(name, tuple(points)) for name, points in found]


def latency_lines(recorded: Recording) -> list[Line]:
    """The 99th percentile of all the applications' operations, over time; before the run's first moment nothing."""
    windows: dict[datetime, Window] = {}
    for felt in recorded.traffic:
        if felt.at >= recorded.began:
            window = Window(felt.operations, felt.errors, felt.max_ms, {int(k): v for k, v in felt.buckets.items()})
            windows.setdefault(felt.at, Window()).merge(window)
    points = tuple((_second(recorded, at), window.percentile(0.99)) for at, window in sorted(windows.items()))
    return [Line("p99", points)] if points else []
