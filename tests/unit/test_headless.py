"""What is printed without a screen: reports, status, plans and the lines of a run that is followed."""

from __future__ import annotations

import io
import json
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from rich.console import Console

from console.headless.follow import Follower, picture, wants_lines
from console.headless.lines import LineWriter
from console.headless.plan_facts import PlanReport
from console.headless.plan_markdown import plan_markdown
from console.headless.plan_text import plan_json, plan_text
from console.headless.report import report_json, report_markdown, report_text, status_line, status_text
from console.headless.words import clock, count, duration, eta, fence, markdown_cell, minutes, table
from console.journal.state import RunState, RunStatus, TaskStatus
from console.plan.model import Plan
from console.sql.model import Hazard, TaskPreview
from tests.canned import NOW, PLAN_SHA256, STATES, a_plan, a_progress, a_run_state, previews

# Set the window's title, clear the screen, colours by a C1 control, reversed reading order, a bell, a new line.
EVIL = "\x1b]0;owned\x07\x1b[2Jevil\x9b31m\u202etxet\x07\nFORGED line"


def harmless(text: str) -> bool:
    """Whether a terminal would only draw ``text``."""
    return all(ch == "\n" or unicodedata.category(ch) not in ("Cc", "Cf") for ch in text)


def an_evil_state(moment: str = "mid backfill") -> RunState:
    """A run whose every text from outside tries to take over the terminal."""
    state = a_run_state(moment)
    return replace(
        state,
        plan_title=EVIL,
        operator=EVIL,
        error=EVIL,
        target=replace(state.target, database=EVIL, host=EVIL),
        lease=replace(state.lease, holder=EVIL, host=EVIL) if state.lease else None,
        tasks=tuple(replace(task, title=EVIL, note=EVIL, error=EVIL, blocked_on=EVIL) for task in state.tasks),
        checks=tuple(
            replace(c, title=EVIL, actual=EVIL, expected=EVIL, ok=False, rows=({EVIL: EVIL},)) for c in state.checks
        ),
        events=tuple(replace(event, text=EVIL, actor=EVIL) for event in state.events),
        sessions=tuple(replace(s, application=EVIL, query=EVIL, user=EVIL) for s in state.sessions),
        progress=tuple(replace(p, mapping=EVIL, source=EVIL, reason=EVIL) for p in state.progress),
        rejects=((EVIL, EVIL, 3),),
        leads=((EVIL, "old"),),
        traffic=replace(state.traffic, last_errors=(EVIL,)) if state.traffic else None,
    )


def an_evil_plan() -> tuple[Plan, dict[str, TaskPreview]]:
    """The canned plan with such texts, and its previews with such SQL."""
    plan = a_plan()
    phases = tuple(
        replace(p, title=EVIL, goal=EVIL, tasks=tuple(replace(t, title=EVIL, question=EVIL) for t in p.tasks))
        for p in plan.phases
    )
    found = {}
    for name, preview in previews().items():
        up = tuple(
            replace(s, sql=EVIL, blocks=EVIL, hazards=(Hazard("CODE", EVIL, EVIL),), file=EVIL) for s in preview.up
        )
        found[name] = replace(preview, up=up, text=EVIL)
    return replace(plan, title=EVIL, phases=phases), found


def strings(value: Any) -> list[str]:
    """Every text in a JSON value, keys included."""
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in (str(key), *strings(item))]
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []


TEXTS: dict[str, Callable[[RunState], str]] = {
    "report_text": report_text,
    "report_markdown": report_markdown,
    "status_text": status_text,
    "status_line": status_line,
}


@pytest.mark.parametrize("moment", list(STATES))
@pytest.mark.parametrize("printer", list(TEXTS))
def test_no_text_from_outside_reaches_the_terminal_as_more_than_text(printer: str, moment: str) -> None:
    text = TEXTS[printer](an_evil_state(moment))
    assert harmless(text)
    assert "evil" in text or printer == "status_line"
    assert not any(line.startswith("FORGED") for line in text.splitlines())
    assert "owned" not in text  # the whole sequence is gone, not its first byte only


@pytest.mark.parametrize("moment", list(STATES))
def test_reports_as_json_are_harmless_and_complete(moment: str) -> None:
    data = report_json(an_evil_state(moment))
    assert all(harmless(text) for text in strings(data))
    again = json.loads(json.dumps(data))
    assert again["status"] == a_run_state(moment).status.value
    assert len(again["tasks"]) == len(a_plan().tasks)


def test_a_plan_with_hostile_text_is_printed_harmlessly() -> None:
    plan, found = an_evil_plan()
    assert harmless(plan_text(plan, found))
    assert harmless(plan_markdown(PlanReport(plan, found)))
    data = plan_json(plan, found)
    data.pop("mappings")
    assert all(harmless(text) for text in strings(data))


def test_the_live_picture_is_harmless() -> None:
    stream = io.StringIO()
    screen = Console(file=stream, width=120, force_terminal=False)
    for moment in STATES:
        screen.print(picture(an_evil_state(moment)))
    assert harmless(stream.getvalue())
    assert "evil" in stream.getvalue()


def test_markup_of_rich_is_drawn_as_text() -> None:
    stream = io.StringIO()
    state = a_run_state("mid backfill", error="[red]no[/red] [link=http://x]y[/link]")
    Console(file=stream, width=120).print(picture(state))
    assert "[red]no[/red] [link=http://x]y[/link]" in stream.getvalue()


def test_markdown_of_a_plan_is_text_in_a_report() -> None:
    state = a_run_state("done", plan_title="a|b <script>x</script> [y](http://z) `c` # d *e*")
    line = next(line for line in report_markdown(state).splitlines() if line.startswith("# Run"))
    assert "\\<script\\>" in line
    assert "\\[y\\](http" in line
    assert "a\\|b" in line


def test_no_sql_leaves_its_code_block() -> None:
    sql = "SELECT 1;\n```\n# out\n````\n"
    lines = fence(sql, "sql")
    assert lines[0] == "`````sql"
    assert lines[-1] == "`````"
    assert lines[1:-1] == sql.splitlines()


def test_the_report_says_what_the_run_was() -> None:
    text = report_text(a_run_state("done"))
    for fact in (PLAN_SHA256, "arbitrage at db1.example:5432, PostgreSQL 16.10, PROD", "12 of 13 completed", "dba@"):
        assert fact in text
    for section in ("TASKS", "COPIES AND COMPARISONS", "REJECTED ROWS", "CHECKS", "TRAFFIC", "EVENTS"):
        assert f"\n{section}\n" in text
    assert "unknown symbol" in text
    assert "12,399,660" in text


def test_a_failed_check_stands_first_with_its_rows() -> None:
    state = a_run_state("failed check")
    lines = report_text(state).splitlines()
    checks = lines[lines.index("CHECKS") + 2 :]
    assert checks[0].split()[:2] == ["FAILED", "rejects_small"]
    assert "symbol_id = 17, difference = 2" in checks[1]
    assert report_json(state)["checks"][0]["check_id"] == "rejects_small"
    assert "error     Check rejects_small failed" in status_text(state)


def test_status_names_who_runs_and_who_blocks() -> None:
    text = status_text(a_run_state("lock wait"))
    assert "dba@bastion on bastion, pid 4711, heartbeat 0.8 s ago, alive" in text
    assert "pid 2211 (nightly-report, analyst) blocks us: idle in transaction for 30 min 43 s" in text
    dead = a_run_state("lock wait")
    assert dead.lease is not None
    dead = replace(dead, lease=replace(dead.lease, age_s=42.0, alive=False))
    assert "heartbeat 42 s ago, GONE: pgferry resume" in status_text(dead)
    assert "runner    none" in status_text(a_run_state("paused"))


def test_a_report_before_any_run_has_no_empty_sections() -> None:
    text = report_text(a_run_state("fresh"))
    assert "TASKS" in text
    assert "EVENTS" not in text
    assert "started   -" in text


def test_json_holds_numbers_not_words() -> None:
    data = report_json(a_run_state("mid backfill"))
    assert data["seconds_worked"] > 431
    assert data["tasks_completed"] == 4
    assert data["progress"][0]["rows_done"] == 7_812_000
    assert data["progress"][0]["average_rate"] == pytest.approx(7_812_000 / 431)
    assert data["rejects"][0] == {"mapping": "book_ticker", "reason": "unknown symbol", "rows": 300}
    assert data["server_now"] == NOW.isoformat()
    assert data["traffic"]["by_kind"]["insert snapshot"]["operations"] == 640_000


@pytest.mark.parametrize("printer", [report_text, status_text, status_line])
def test_ascii_only_is_ascii(printer: Callable[..., str]) -> None:
    state = a_run_state("mid backfill", plan_title="Börse \u2013 “Ψ”", operator="Žofie")
    state = replace(state, tasks=tuple(replace(task, title="Größe \u2013 Ψ") for task in state.tasks))
    assert printer(state, ascii_only=True).isascii()
    assert not printer(state).isascii()


def test_a_plan_as_ascii() -> None:
    plan = replace(a_plan(), title="Börse \u2013 Ψ")
    assert plan_text(plan, previews(), ascii_only=True).isascii()
    assert "B?rse - ?" in plan_text(plan, previews(), ascii_only=True)


def test_a_plan_in_words_shows_each_task_its_statements_and_its_way_back() -> None:
    plan, found = a_plan(), previews()
    text = plan_text(plan, found)
    assert text.splitlines()[0].split() == ["plan", "Normalise", "exchanges", "and", "symbols", "(cex-normalise)"]
    assert PLAN_SHA256 in text
    for task in plan.tasks:
        assert f"  {task.id}  {task.title}" in text
    assert "NONE: the rows are exported to files, then dropped" in text
    assert "accepted    FK_NOT_VALID_MISSING: the table is empty" in text
    for statement in (s for preview in found.values() for s in (*preview.up, *preview.down)):
        for line in statement.sql.splitlines():
            assert f"      | {line}".rstrip() in text


def test_a_plan_as_json_has_totals_and_no_file_texts() -> None:
    data = json.loads(json.dumps(plan_json(a_plan(), previews())))
    assert data["sha256"] == PLAN_SHA256
    assert data["totals"]["tasks"] == len(a_plan().tasks)
    assert [entry["task"] for entry in data["totals"]["no_way_back"]] == ["P4.1.3"]
    first = data["phases"][0]["tasks"][0]
    assert (first["file"], first["down"]) == ("002_create_exchanges.sql", "002_create_exchanges.down.sql")
    assert set(data["files"][0]) == {"path", "sha256"}


def test_what_is_unknown_of_a_statement_is_said() -> None:
    found = previews()
    strange = replace(found["P1.1.1"].up[0], rewrite=None, scan=None, locks=())
    found["P1.1.1"] = replace(found["P1.1.1"], up=(strange,))
    text = plan_text(a_plan(), found)
    assert "rewrites the table: unknown; scans it: unknown" in text
    assert "lock: none known" in text


class Polls:
    """Hands out states one by one, then the last again; counts the waits between."""

    def __init__(self, *states: RunState) -> None:
        self.states = list(states)
        self.waits: list[float] = []

    def poll(self) -> RunState:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]


def followed(*states: RunState, encoding: str = "utf-8") -> tuple[list[str], Polls]:
    """The lines a follower writes to a stream that is no terminal, until the last state."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    polls = Polls(*states)
    last = states[-1]
    end = Follower(stream, interval_s=0.25).follow(polls.poll, polls.waits.append, stop=lambda s: s is last)
    assert end is last
    stream.flush()
    return raw.getvalue().decode(encoding).splitlines(), polls


def test_a_followed_run_says_each_fact_once() -> None:
    fresh, mid, done = (a_run_state(moment) for moment in ("fresh", "mid backfill", "done"))
    lines, polls = followed(fresh, mid, mid, mid, done)
    assert polls.waits == [0.25] * 4
    assert lines[0].startswith("2026-11-21 23:41:07 run ")
    said = [line for line in lines if "P2.1.1 completed in 33.5 s" in line]
    assert len(said) == 1
    assert sum("P1.1.1 Create the exchanges table: completed" in line for line in lines) == 1
    assert sum("in progress" in line for line in lines) == 1
    assert sum("copy book_ticker 63.0%" in line for line in lines) == 1
    assert lines[-1] == "2026-11-21 23:41:07 run 7: done, 12/13 tasks"


def test_a_copy_is_said_again_only_after_ten_seconds() -> None:
    writer = LineWriter()
    state = a_run_state("mid backfill")
    first = writer.lines(state)
    assert any("copy book_ticker" in line for line in first)
    assert writer.lines(replace(state, server_now=NOW + timedelta(seconds=9))) == []
    assert len(writer.lines(replace(state, server_now=NOW + timedelta(seconds=10)))) == 1


def test_a_failure_is_said_with_its_reason() -> None:
    lines, _ = followed(a_run_state("mid backfill"), a_run_state("failed check"))
    assert lines[-1].endswith(
        "run 7: failed, 4/13 tasks: Check rejects_small failed: expected value <= 1000, got 1340."
    )
    assert any("Copy the rows of book_ticker_snapshots: failed (Check rejects_small" in line for line in lines)


def test_followed_lines_are_harmless_and_each_is_dated() -> None:
    lines, _ = followed(an_evil_state("mid backfill"), an_evil_state("failed check"))
    assert lines
    assert all(harmless(line) for line in lines)
    assert all(line.startswith("2026-11-21 ") for line in lines)


def test_a_stream_that_takes_ascii_only_gets_ascii() -> None:
    state = a_run_state("mid backfill", status=RunStatus.FAILED, error="Größe \u2013 Ψ")
    lines, _ = followed(state, encoding="ascii")
    assert lines[-2].endswith("Gr??e - ?") or any(line.endswith("Gr??e - ?") for line in lines)


def test_errors_of_the_poll_pass_through() -> None:
    def poll() -> RunState:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Follower(io.StringIO()).follow(poll, lambda _: None, stop=lambda _: True)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_lines_where_no_picture_can_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert not wants_lines(Terminal())
    assert wants_lines(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert wants_lines(Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert wants_lines(Terminal())


def test_numbers_and_times_in_words() -> None:
    assert [duration(s) for s in (-1, 0.44, 42.4, 59.9, 185, 7440)] == [
        "0.0 s", "0.4 s", "42 s", "1 min 0 s", "3 min 5 s", "2 h 4 min"
    ]  # fmt: skip
    assert [minutes(m) for m in (0, 59, 60, 260)] == ["0 min", "59 min", "1 h", "4 h 20 min"]
    assert (eta(None, 3), eta(5, 5.01), eta(60, 120)) == ("unknown", "5.0 s", "1 min 0 s to 2 min 0 s")
    assert (count(1234567.6), clock(None), clock(NOW)) == ("1,234,568", "-", "2026-11-21 23:41:07 UTC")
    assert table([["a", "1"], ["bbb", "22"]], right=(1,)) == ["a     1", "bbb  22"]
    assert markdown_cell("a|b\nc") == "a\\|b c"


def test_a_rolled_back_run_shows_what_went_back() -> None:
    state = a_run_state("rolled back")
    back = [task.id for task in state.tasks if task.status is TaskStatus.ROLLED_BACK]
    assert back
    for task_id in back:
        assert f"{task_id}  rolled back" in status_text(state)


def test_of_the_comparisons_that_have_ended_status_lists_the_last_of_each_mapping() -> None:
    state = a_run_state()
    first, second, third = (task.id for task in state.tasks[:3])
    done = {"what": "compare", "share": 1.0, "finished": True}
    progress = (
        a_progress(task_id=third, mapping="trades", rows_done=3_333, **done),
        a_progress(task_id=second, mapping="tickers", rows_done=2_222, **done),
        a_progress(task_id=first, mapping="tickers", rows_done=1_111, **done),
        a_progress(task_id=first, mapping="trades", what="compare", finished=False, rows_done=444),
    )
    text = status_text(replace(state, progress=progress))
    assert "compare tickers done, 2,222 rows" in text
    assert "compare trades done, 3,333 rows" in text
    assert "1,111" not in text, "a later one says more"
    assert "444 rows" in text, "one that is under way"


@pytest.mark.parametrize("moment", ["runner gone", "paused"])
def test_a_copy_that_nobody_works_at_has_no_rate_and_no_end_to_come(moment: str) -> None:
    for text in (status_text(a_run_state(moment)), status_line(a_run_state(moment))):
        assert "nobody works at it now" in text
        assert "ETA" not in text
        assert "rows/s" not in text
    assert "ETA" in status_line(a_run_state("mid backfill"))
