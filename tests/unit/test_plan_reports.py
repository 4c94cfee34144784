"""The reports of a plan and of a rehearsal: their structure, that no text becomes markup, and SARIF's own rules."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from console import cli
from console.commands.previews import Previews
from console.errors import UsageError
from console.headless.plan_facts import PlanReport
from console.headless.plan_html import plan_html
from console.headless.plan_markdown import plan_markdown
from console.headless.plan_text import strongest_locks
from console.headless.rehearsal_report import rehearsal_html, rehearsal_json, rehearsal_markdown, write_report
from console.headless.sarif import SCHEMA
from console.plan.approval import Approval, Wanted, standing
from console.plan.find import shipped_plan
from console.plan.load import load_plan
from console.plan.rehearsed import Difference, Measured, Outcome, Rehearsal, TaskRehearsed
from console.sql.hazards.catalogue import RULES
from console.sql.model import Hazard
from tests.canned import a_plan, previews
from tests.unit.plan_files import write_plan

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
EVIL = "<script>alert(1)</script> & \"quoted\" 'too' `tick` | pipe\nFORGED"
VOID = {"meta", "br", "link", "img"}


class Outline(HTMLParser):
    """The elements of a page: whether they are closed in order, and which there are."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


def a_rehearsal(**more: object) -> Rehearsal:
    """Of the canned plan: one task passed, one differs, one failed, the others were not rehearsed."""
    plan = a_plan()
    ids = [task.id for task in plan.tasks]
    statement = Measured(
        "up",
        0,
        "CREATE TABLE exchanges (i int)",
        "0" * 64,
        (("symbols", "SHARE ROW EXCLUSIVE"),),
        ("symbols",),
        12.0,
        3.0,
        4096,
    )
    tasks = (
        TaskRehearsed(ids[0], Outcome.PASSED, "", Outcome.PASSED, 12.0, 3.0, 4096, (), (statement,)),
        TaskRehearsed(
            ids[1], Outcome.DIFFERS, "a comment stays", Outcome.DIFFERS, 1.0, 1.0, 0,
            (Difference(f"TABLE {EVIL}", "CREATE TABLE a", "CREATE TABLE a\nCOMMENT"),),
        ),
        TaskRehearsed(ids[2], Outcome.FAILED, EVIL, Outcome.FAILED),
        *(TaskRehearsed(id_, Outcome.NOT_REHEARSED, "needs pgvector", Outcome.NOT_REHEARSED) for id_ in ids[3:]),
    )  # fmt: skip
    record = Rehearsal(
        plan.id, plan.sha256, "2026-11-21T10:00:00+00:00", 180004, "scratch", "generated", (("ticks", 20_000),), tasks
    )
    return replace(record, **more)  # type: ignore[arg-type]


def a_report(**more: object) -> PlanReport:
    plan = a_plan()
    records = [Approval(plan.id, plan.sha256, "r2", NOON)]
    report = PlanReport(plan, previews(), standing(Wanted.of(plan), records), a_rehearsal())
    return replace(report, **more)  # type: ignore[arg-type]


def an_evil_report() -> PlanReport:
    plan = a_plan()
    found = previews()
    task = plan.tasks[0].id
    up = found[task].up
    hazard = Hazard(f"CODE-{EVIL}", EVIL, EVIL)
    found[task] = replace(found[task], up=(replace(up[0], sql=f"-- {EVIL}", hazards=(hazard,)), *up[1:]), text=EVIL)
    phases = tuple(
        replace(phase, title=EVIL, goal=EVIL, tasks=tuple(replace(t, title=EVIL) for t in phase.tasks))
        for phase in plan.phases
    )
    return PlanReport(replace(plan, title=EVIL, phases=phases), found)


def test_markdown_has_the_summary_first() -> None:
    lines = plan_markdown(a_report()).splitlines()
    head = "\n".join(lines[:20])
    for words in ("approved by r2, 21 Nov", "worst lock", "hazards", "no way back", "1 passed, 1 differs", "forward,"):
        assert words in head
    assert lines.count("## Statements") == 1
    assert sum(line.startswith("<details>") for line in lines) == sum(line == "</details>" for line in lines)
    for task in a_plan().tasks:
        assert any(f"<summary>{task.id} " in line for line in lines)


def test_markdown_fits_into_a_comment_and_says_what_it_left_out() -> None:
    whole = plan_markdown(a_report(), room=10**9)
    short = plan_markdown(a_report(), room=6_000)
    assert len(short) < len(whole)
    left = re.search(r"The statements of (\d+) tasks, from (\S+) on, are left out", short)
    assert left is not None
    assert short.count("<summary>") == whole.count("<summary>") - int(left.group(1))


def test_nothing_rehearsed_and_nothing_approved_is_said() -> None:
    plan = replace(a_plan(), approvals=2)
    report = a_report(plan=plan, stands=standing(Wanted.of(plan), []), rehearsal=None)
    for text in (plan_markdown(report), Outline(plan_html(report, NOON)).text):
        assert "NOT REHEARSED" in text
        assert "0 of 2 approvals" in text


def test_html_stands_alone_and_holds_everything() -> None:
    text = plan_html(a_report(), NOON)
    page = Outline(text)
    assert not {tag for tag, _ in page.found} & {"script", "link", "img", "iframe", "object"}
    assert not re.search(r"https?://|url\(|@import", text)
    links = [attrs["href"] for tag, attrs in page.found if tag == "a"]
    assert {f"#{attrs['id']}" for _, attrs in page.found if "id" in attrs} == set(links)
    for task in a_plan().tasks:
        assert task.id in page.text
    for preview in previews().values():
        for statement in (*preview.up, *preview.down):
            for line in statement.sql.splitlines():
                assert "".join(line.split()) in "".join(page.text.split())
    assert "report made" in page.text
    assert ("span", {"class": "keyword"}) in page.found
    assert "@media print" in text


@pytest.mark.parametrize(
    "text",
    [
        plan_html(an_evil_report(), NOON),
        rehearsal_html(a_rehearsal(), a_plan()),
        rehearsal_html(a_rehearsal(plan_id=EVIL, data=EVIL, lacks=(EVIL,)), None),
    ],
)
def test_no_text_becomes_html(text: str) -> None:
    page = Outline(text)
    assert "script" not in {tag for tag, _ in page.found}
    assert "<script>alert(1)</script>" in page.text
    assert all(
        set(attrs) <= {"class", "id", "href", "lang", "charset", "name", "content", "scope", "http-equiv"}
        for _, attrs in page.found
    )


@pytest.mark.parametrize(
    "text", [plan_markdown(an_evil_report()), rehearsal_markdown(a_rehearsal(data=EVIL), a_plan())]
)
def test_no_text_becomes_markdown(text: str) -> None:
    outside = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", text, flags=re.S | re.M)
    assert not re.search(r"(?<!\\)<script>", outside)
    assert not any(line.startswith("FORGED") for line in outside.splitlines())


def sarif_of(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict]:  # type: ignore[type-arg]
    code = cli.main([*words, "--format", "sarif"])
    data = json.loads(capsys.readouterr().out)
    check_sarif(data)
    return code, data["runs"][0]


def check_sarif(data: dict) -> None:  # type: ignore[type-arg]
    """What SARIF 2.1.0 and code scanning ask of a log with results."""
    assert (data["version"], data["$schema"]) == ("2.1.0", SCHEMA)
    (run,) = data["runs"]
    rules = run["tool"]["driver"]["rules"]
    ids = [rule["id"] for rule in rules]
    assert len(set(ids)) == len(ids)
    for rule in rules:
        assert rule["shortDescription"]["text"]
        assert rule["fullDescription"]["text"]
        assert rule["help"]["text"]
        assert rule["defaultConfiguration"]["level"] in ("error", "warning", "note", "none")
    marks = []
    for result in run["results"]:
        assert ids[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note")
        assert result["message"]["text"]
        (place,) = result["locations"]
        place = place["physicalLocation"]
        assert place["artifactLocation"]["uriBaseId"] in run["originalUriBaseIds"]
        assert not place["artifactLocation"]["uri"].startswith(("/", "."))
        assert 1 <= place["region"]["startLine"] <= place["region"]["endLine"]
        marks.append((place["artifactLocation"]["uri"], result["ruleId"], *result["partialFingerprints"].items()))
    assert len(set(marks)) == len(marks)


def test_lint_as_sarif(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".git").mkdir()
    folder = tmp_path / "db migrations"
    folder.mkdir()
    file = folder / "1.sql"
    file.write_text(
        "-- pgferry: allow DROP-TABLE nobody uses it\nDROP TABLE gone;\n\nCREATE INDEX i\n    ON t (a);\n"
        "CREATE INDEX i\n    ON t (a);\n"
    )
    code, run = sarif_of(capsys, "lint", str(file))
    assert code == 1
    found = [(r["ruleId"], r["locations"][0]["physicalLocation"]) for r in run["results"]]
    index = [place for rule, place in found if rule == "INDEX-NOT-CONCURRENT"]
    assert [(p["region"]["startLine"], p["region"]["endLine"]) for p in index] == [(4, 5), (6, 7)]
    assert {unquote(place["artifactLocation"]["uri"]) for _, place in found} == {"db migrations/1.sql"}
    assert "DROP-TABLE" not in {rule for rule, _ in found}, "what the file accepts is no alert"
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} >= set(RULES)
    message = next(r["message"]["text"] for r in run["results"] if r["ruleId"] == "INDEX-NOT-CONCURRENT")
    assert "CONCURRENTLY" in message

    file.write_text("SELECT 1;\n")
    code, run = sarif_of(capsys, "lint", str(file))
    assert (code, run["results"]) == (0, [])
    assert run["tool"]["driver"]["rules"], "so that alerts are closed"


def test_a_plan_as_sarif(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".git").mkdir()
    plan = write_plan(tmp_path, **{"002_new.sql": "SELECT 1;\nALTER TABLE ticks ADD CHECK (price > 0);\n"})
    code, run = sarif_of(capsys, "plan", "--plan", str(plan))
    assert code == 0
    at = {
        (
            r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"],
            r["locations"][0]["physicalLocation"]["region"]["startLine"],
        )
        for r in run["results"]
    }
    assert ("plan/002_new.sql", 2) in at
    assert all(uri in ("plan/002_new.sql", "plan/plan.toml") for uri, _ in at)
    assert not any("down" in uri for uri, _ in at)
    assert cli.main(["plan", "--plan", str(plan), "--strict"]) == 1
    capsys.readouterr()


@pytest.mark.parametrize("form", ["markdown", "html", "sarif", "json", "text"])
def test_the_shipped_plan_in_every_form(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "--plan", str(shipped_plan()), "--format", form]) == 0
    text = capsys.readouterr().out
    if form == "html":
        Outline(text)
    elif form == "sarif":
        check_sarif(json.loads(text))
    elif form == "markdown":
        assert len(text) < 65_536
    assert "NOT REHEARSED" in text or form in ("sarif", "json")


def test_a_rehearsal_says_the_worst_first(tmp_path: Path) -> None:
    plan = a_plan()
    text = rehearsal_markdown(a_rehearsal(), plan)
    heads = [line for line in text.splitlines() if line.startswith("## ")]
    assert heads[0].startswith(f"## {plan.tasks[2].id}: FAILED")
    assert heads[1].startswith(f"## {plan.tasks[1].id}: DIFFERS")
    assert "NOT REHEARSED" in heads[2]
    assert "+COMMENT" in text.splitlines()
    assert "-CREATE TABLE a" not in text.splitlines(), "only what changed"
    assert "came to | FAILED" in text
    assert "SHARE ROW EXCLUSIVE on symbols" in text
    page = Outline(rehearsal_html(a_rehearsal(), plan)).text
    assert "SHARE ROW EXCLUSIVE on symbols" in page
    data = rehearsal_json(a_rehearsal())
    assert (data["ok"], data["complete"], len(data["tasks"])) == (False, False, len(plan.tasks))
    for name in ("r.md", "r.html", "r.json"):
        write_report(a_rehearsal(), plan, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1_000
    json.loads((tmp_path / "r.json").read_text())
    with pytest.raises(UsageError, match=r"\.pdf"):
        write_report(a_rehearsal(), plan, tmp_path / "r.pdf")


def test_what_was_not_rehearsed_never_passes() -> None:
    lacking = a_rehearsal(tasks=tuple(replace(t, outcome=Outcome.NOT_REHEARSED) for t in a_rehearsal().tasks))
    text = rehearsal_markdown(lacking, a_plan())
    assert "some tasks were NOT REHEARSED" in text
    assert "passed: forward, back" not in text


def test_a_big_plan_is_reported(tmp_path: Path) -> None:
    """Pages of many tasks stay whole."""
    toml = ['format = 1\nid = "big"\ntitle = "Big"\n[[phase]]\nid = "1"\ntitle = "One"']
    root = tmp_path / "big"
    root.mkdir()
    for number in range(60):
        toml.append(
            f'[[phase.task]]\nid = "T{number}"\ntitle = "t"\nkind = "sql"\nminutes = 1\nfile = "{number:03}.sql"'
        )
        (root / f"{number:03}.sql").write_text(f"CREATE TABLE t{number} (i int);\n" * 10)
        (root / f"{number:03}.down.sql").write_text(f"DROP TABLE t{number};\n")
    (root / "plan.toml").write_text("\n".join(toml))
    plan = load_plan(root)
    report = PlanReport(plan, Previews(plan).all())
    assert len(plan_markdown(report)) < 65_536
    assert Outline(plan_html(report, NOON)).text.count("CREATE") >= 600


def test_the_totals_name_what_applications_use_and_what_is_known_first() -> None:
    shipped = Previews(load_plan(shipped_plan())).all()
    locks = strongest_locks(shipped)
    names = {lock.object for lock in locks}
    assert {"book_ticker_snapshots", "trades", "symbols"} <= names
    assert {name for name in names if "pgferry." in name} == set(), "the journal's and the sync's own"
    assert {name for name in names if name.startswith("whatever")} == set(), "every function called is known"
    strongest = [lock.basis == "assumed" for lock in locks if lock.mode == locks[0].mode]
    assert strongest == sorted(strongest), "what is assumed comes after what is known"
    everything = {lock.object for one in shipped.values() for statement in one.up for lock in statement.locks}
    assert "pgferry.book_ticker_gate" in everything, "each task's own preview has them"
