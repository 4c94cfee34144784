"""Approvals on a real server: who counts, where they are kept, and what a runner refuses without them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from console.demo.server import EmbeddedServer
from console.journal import approvals, events, runs, schema
from console.journal.connect import connect
from console.journal.state import RunStatus, Verb
from console.plan.approval import Wanted, standing
from console.plan.load import load_plan
from tests.engine.scene import order
from tests.engine.test_cli import SLOW, last, said
from tests.engine.test_cli import home as home
from tests.engine.test_cli import runners as runners
from tests.engine.tiny import PLAN_TOML, ferry, start, tiny_plan, wait_until

TWO = PLAN_TOML.replace("[paths]", "approvals = 2\n[paths]", 1)
ONE = PLAN_TOML.replace("[paths]", "approvals = 1\n[paths]", 1)


@pytest.fixture
def roles(server: EmbeddedServer) -> Iterator[dict[str, str]]:
    """Three login roles with no rights of their own, by name."""
    names = {name: f"{name}_{id(server) % 10_000}" for name in ("ann", "ben", "cem")}
    with psycopg.connect(server.conninfo(), autocommit=True) as conn:
        for name in names.values():
            conn.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
    yield names
    with psycopg.connect(server.conninfo(), autocommit=True) as conn:
        for name in names.values():
            conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def as_role(database: str, role: str) -> str:
    return make_conninfo(database, user=role)


def revoke(database: str) -> None:
    """So that the roles can be dropped after the test."""
    with psycopg.connect(database) as conn:
        conn.execute("DROP SCHEMA IF EXISTS pgferry CASCADE")


def count(database: str, what: str) -> int:
    with psycopg.connect(database) as conn:
        row = conn.execute(what).fetchone()  # type: ignore[call-overload]
    return int(row[0])


def test_two_people_must_approve_before_anything_is_written(
    database: str,
    tmp_path: Path,
    roles: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = tiny_plan(tmp_path, toml=TWO)
    on = ("--plan", str(plan), "--dsn", database)
    monkeypatch.setenv("PGFERRY_OPERATOR", "op")
    code, _, err = said(capsys, "apply", *on)
    assert code == 5
    assert "0 of 2 approvals" in last(err)
    assert "missing: 2 more people" in last(err)
    assert "pgferry approve" in last(err)
    with connect(database) as conn:
        assert not schema.installed(conn), "a refused start writes nothing"

    for role in ("ann", "ben"):
        assert said(capsys, "approve", "--dsn", database, "--grant", roles[role])[0] == 0
    monkeypatch.setenv("PGFERRY_OPERATOR", "ann")
    code, out, err = said(
        capsys, "approve", "--plan", str(plan), "--dsn", as_role(database, roles["ann"]), "--comment", "read it twice"
    )
    assert code == 0, err
    assert "recorded in the journal" in out
    assert f"ann (role {roles['ann']}): approved" in out
    assert "read it twice" in out
    code, _, err = said(capsys, "apply", *on)
    assert code == 5
    assert "1 of 2" not in last(err), "ann starts it: her own approval does not count"
    assert "not counted: the operator's own" in last(err)

    monkeypatch.setenv("PGFERRY_OPERATOR", "ben")
    assert said(capsys, "approve", "--plan", str(plan), "--dsn", as_role(database, roles["ben"]))[0] == 0
    monkeypatch.setenv("PGFERRY_OPERATOR", "op")
    code, out, err = said(capsys, "approve", *on, "--check", "--format", "json")
    assert code == 0
    assert json.loads(out)["enough"] is True
    code, out, err = said(capsys, "apply", *on)
    assert code == 0, err
    with connect(database) as conn:
        row = runs.latest(conn, "tiny")
        assert row is not None
        audit = events.audit(conn, row.id)
        assert audit.intact
        relied_on, begun = conn.execute(
            "SELECT text, data FROM pgferry.event WHERE kind = 'operator' ORDER BY id LIMIT 2"
        ).fetchall()
        assert relied_on[0].startswith(f"approved: ann (role {roles['ann']}): approved")
        assert [(one["name"], one["role"], one["source"]) for one in relied_on[1]["approvals"]] == [
            (name, roles[name], "journal") for name in ("ann", "ben")
        ]
        assert begun[0] == "run until end, 2 of 2 approvals: ann, ben"
    code, out, _ = said(capsys, "status", *on)
    assert "approval  2 of 2 approvals: ann, ben" in out
    revoke(database)


def test_the_server_says_who_approves(
    database: str,
    tmp_path: Path,
    roles: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = tiny_plan(tmp_path, toml=TWO)
    assert said(capsys, "approve", "--dsn", database, "--grant", roles["ann"])[0] == 0
    for name in ("ann", "somebody else"):  # one role under two names is one person
        monkeypatch.setenv("PGFERRY_OPERATOR", name)
        assert said(capsys, "approve", "--plan", str(plan), "--dsn", as_role(database, roles["ann"]))[0] == 0
    with connect(database) as conn:
        found = approvals.records(conn, "tiny")
        assert [one.role for one in found] == [roles["ann"]] * 2
        assert len(standing(Wanted.of(load_plan(plan)), found).counted) == 1
    with (
        connect(as_role(database, roles["ann"])) as conn,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        conn.execute(
            "INSERT INTO pgferry.approval (plan_id, plan_sha256, withdraws, role, name, comment)"
            " VALUES ('tiny', repeat('0', 64), false, 'ben', 'ben', '')"
        )
    with connect(as_role(database, roles["ann"])) as conn, pytest.raises(psycopg.errors.DataException):
        conn.execute(
            "SELECT pgferry.approve('tiny', repeat('0', 64), false, 'ann', '', '{a}', ARRAY[repeat('1', 64)], ARRAY[NULL::bytea])"
        )
    for tampering in ("UPDATE pgferry.approval SET name = 'ben'", "DELETE FROM pgferry.approval"):
        with connect(database) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege, match="only ever added"):
            conn.execute(tampering)
    revoke(database)


def test_a_role_without_rights_approves_in_a_file(
    database: str,
    tmp_path: Path,
    roles: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = tiny_plan(tmp_path, toml=ONE)
    digest = load_plan(plan).sha256
    monkeypatch.setenv("PGFERRY_OPERATOR", "ann")
    code, out, err = said(capsys, "approve", "--plan", str(plan), "--dsn", as_role(database, roles["ann"]))
    assert (code, err) == (0, "")
    assert "approvals.jsonl: commit it" in out
    assert "may not write to the journal" in out
    assert load_plan(plan).sha256 == digest, "the file is no part of the plan"
    line = json.loads((plan / "approvals.jsonl").read_text())
    assert (line["format"], line["by"], line["sha256"], line["what"]) == (1, "ann", digest, "approve")
    code, _, err = said(capsys, "apply", "--plan", str(plan), "--dsn", database)
    assert code == 5, "her own does not count"
    monkeypatch.setenv("PGFERRY_OPERATOR", "op")
    code, _, err = said(capsys, "apply", "--plan", str(plan), "--dsn", database)
    assert code == 0, err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("<<<<<<< ours", "This line is no approval"),
        ('{"format": 2, "by": "x"}', "is of format 2; this pgferry knows format 1"),
        (
            '{"format": 1, "what": "bless", "plan": "tiny", "sha256": "0", "by": "x", "at": "2026-11-21T10:00:00Z"}',
            "bless",
        ),
        ('{"format": 1, "what": "approve", "plan": "tiny", "sha256": "0", "by": "x", "at": "2026-11-21"}', "no zone"),
        ("[1]", "This line is no approval"),
    ],
)
def test_an_approval_that_cannot_be_read_names_its_line(
    tmp_path: Path,
    database: str,
    capsys: pytest.CaptureFixture[str],
    line: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = tiny_plan(tmp_path, toml=ONE)
    monkeypatch.setenv("PGFERRY_OPERATOR", "ann")
    assert said(capsys, "approve", "--plan", str(plan))[0] == 0
    with (plan / "approvals.jsonl").open("a") as file:
        file.write(line + "\n")
    for command in (("approve", "--plan", str(plan)), ("apply", "--plan", str(plan), "--dsn", database)):
        code, _, err = said(capsys, *command)
        assert code == 4
        assert words in last(err)
        assert "approvals.jsonl:2:" in last(err)
    code, out, _ = said(capsys, "status", "--plan", str(plan), "--dsn", database)
    assert code == 0
    assert "approvals.jsonl:2:" in out


def test_a_changed_plan_is_refused_and_the_difference_shown(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tiny_plan(tmp_path)
    on = ("--plan", str(plan), "--dsn", database)
    assert said(capsys, "apply", *on, "--until", "A1")[0] == 0
    (plan / "003_fill.sql").write_text("INSERT INTO things VALUES (1), (2), (3), (4);\n")
    (plan / "helper.py").write_text("X = 1\n")
    (plan / "002_things.down.sql").write_text("DROP TABLE IF EXISTS things;\n")
    for command in (("apply", *on), ("resume", *on), ("rollback", *on, "--to", "start"), ("work", *on)):
        code, _, err = said(capsys, *command)
        if command[0] == "work":  # no copy runs: that is told first
            assert code == 5
            continue
        assert code == 4, err
        assert "The plan changed since run 1 began" in last(err)
        assert "changed: 002_things.down.sql, 003_fill.sql; added: helper.py" in last(err)
        assert "-INSERT INTO things VALUES (1), (2), (3);" in err
        assert "+INSERT INTO things VALUES (1), (2), (3), (4);" in err
        assert "+X = 1" in err
    code, out, _ = said(capsys, "plan", *on, "--diff")
    assert code == 4
    assert "what run 1 began with" in out
    assert "-DROP TABLE things;" in out


def test_nothing_to_compare_with(database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = said(capsys, "plan", "--plan", str(tiny_plan(tmp_path)), "--diff")
    assert code == 5
    assert "Nothing of this plan was approved or begun" in last(err)


def test_a_change_after_the_approval_is_shown(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tiny_plan(tmp_path, toml=ONE)
    on = ("--plan", str(plan), "--dsn", database)
    monkeypatch.setenv("PGFERRY_OPERATOR", "ann")
    assert "recorded in the journal" in said(capsys, "approve", *on)[1]
    (plan / "003_fill.sql").write_text("DELETE FROM things;\n")
    monkeypatch.setenv("PGFERRY_OPERATOR", "op")
    code, _, err = said(capsys, "apply", *on)
    assert code == 5
    assert "ann (role" in last(err)
    assert "approved another version" in last(err)
    assert "+DELETE FROM things;" in err
    old = load_plan(plan).sha256
    code, _, err = said(capsys, "approve", *on, "--sha256", "0123")
    assert code == 4
    assert "Nothing was recorded" in last(err)
    assert old == load_plan(plan).sha256


def test_a_withdrawal_stops_the_next_start_but_not_what_was_begun(
    database: str,
    tmp_path: Path,
    roles: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = tiny_plan(tmp_path, toml=ONE)
    on = ("--plan", str(plan), "--dsn", database)
    ann = ("--plan", str(plan), "--dsn", as_role(database, roles["ann"]))
    assert said(capsys, "approve", "--dsn", database, "--grant", roles["ann"])[0] == 0
    monkeypatch.setenv("PGFERRY_OPERATOR", "ann")
    code, _, err = said(capsys, "approve", *ann, "--withdraw")
    assert code == 5
    assert "has not approved" in last(err)
    assert said(capsys, "approve", *ann)[0] == 0
    monkeypatch.setenv("PGFERRY_OPERATOR", "op")
    assert said(capsys, "apply", *on, "--until", "A1")[0] == 0
    monkeypatch.setenv("PGFERRY_OPERATOR", "ann")
    assert said(capsys, "approve", *ann, "--withdraw", "--comment", "wait for me")[0] == 0
    monkeypatch.setenv("PGFERRY_OPERATOR", "op")
    with connect(database) as conn:
        words = [row[0] for row in conn.execute("SELECT text FROM pgferry.event WHERE actor = 'ann'").fetchall()]
        assert words == ["approval withdrawn: wait for me"]
        assert events.broken_links(conn, 1) == []
    code, _, err = said(capsys, "apply", *on)
    assert code == 5
    assert "withdrawn" in last(err)
    assert "wait for me" in last(err)
    code, out, _ = said(capsys, "resume", *on)
    assert code == 0
    assert "keeps the approval it began with, now it has 0 of 1 approvals" in out
    revoke(database)


def test_a_withdrawal_while_a_runner_works(
    database: str,
    tmp_path: Path,
    roles: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is in the log at once, and the runner carries on to where it was sent."""
    plan = tiny_plan(tmp_path, toml=ONE, fill=SLOW)
    ann = ("--plan", str(plan), "--dsn", as_role(database, roles["ann"]))
    assert said(capsys, "approve", "--dsn", database, "--grant", roles["ann"])[0] == 0
    monkeypatch.setenv("PGFERRY_OPERATOR", "ann")
    assert said(capsys, "approve", *ann)[0] == 0
    work = start("apply", "--plan", str(plan), "--dsn", database, PGFERRY_OPERATOR="op")
    task = "SELECT count(*) FROM pgferry.task WHERE task_id = 'A2' AND status = 'in progress'"
    ran = "SELECT count(*) FROM pg_class WHERE relname = 'task' AND relnamespace::regnamespace::text = 'pgferry'"
    assert wait_until(lambda: count(database, ran) and count(database, task))
    assert said(capsys, "approve", *ann, "--withdraw", "--comment", "one moment")[0] == 0
    assert count(database, task) == 1, "the runner is still at work"
    out, err = work.communicate(timeout=60)
    assert work.returncode == 0, err
    assert "approval withdrawn: one moment" in out
    with connect(database) as conn:
        assert events.audit(conn, 1).intact
    revoke(database)


def test_no_command_starts_a_run_that_is_not_approved(database: str, tmp_path: Path) -> None:
    plan = load_plan(tiny_plan(tmp_path, toml=ONE))
    with connect(database) as conn:
        schema.install(conn)
        run_id = runs.create(conn, plan, "op")
    for verb, args in ((Verb.START, {"until": "end"}), (Verb.RESUME, {})):
        status, answer = order(database, plan, run_id, verb, **args)
        assert status is RunStatus.NEW
        assert "0 of 1 approvals" in answer


def test_two_reviewers_at_once(database: str, tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path, toml=TWO)
    on = ("approve", "--plan", str(plan))
    with ThreadPoolExecutor(4) as pool:
        calls = [
            pool.submit(ferry, *on, *more, PGFERRY_OPERATOR=name)
            for more in (("--file",), ("--dsn", database))
            for name in ("ann", "ben")
        ]
        assert [call.result()[0] for call in calls] == [0] * 4
    lines = [json.loads(line) for line in (plan / "approvals.jsonl").read_text().splitlines()]
    assert sorted(line["by"] for line in lines) == ["ann", "ben"]
    assert count(database, "SELECT count(*) FROM pgferry.approval") == 2


def test_the_texts_of_the_plan_are_kept_once(database: str, tmp_path: Path) -> None:
    plan = load_plan(tiny_plan(tmp_path))
    with connect(database) as conn:
        schema.install(conn)
        for _ in range(2):
            approvals.keep_plan(conn, plan)
        found = approvals.kept(conn, plan.sha256)
    assert {path: kept.text for path, kept in found.items()} == {file.path: file.text for file in plan.files}


def test_a_journal_from_before_approvals_is_completed(database: str) -> None:
    with connect(database) as conn:
        schema.install(conn)
        conn.execute("DROP TABLE pgferry.plan_version, pgferry.plan_file, pgferry.approval")
        assert not approvals.may_read(conn)
        schema.install(conn)
        assert approvals.may_read(conn)


def test_nobody_but_the_owner_makes_the_journal_by_approving(
    database: str, tmp_path: Path, roles: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tiny_plan(tmp_path, toml=ONE)
    role = sql.Identifier(roles["ann"])
    with psycopg.connect(database, autocommit=True) as conn:
        name = sql.Identifier(conn.info.dbname)
        conn.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(name, role))
    code, out, _ = said(capsys, "approve", "--plan", str(plan), "--dsn", as_role(database, roles["ann"]))
    assert code == 0
    assert "approvals.jsonl" in out
    with connect(database) as conn:
        assert not schema.installed(conn), "it would be a reviewer's own, and closed to the operator"
        conn.execute(sql.SQL("REVOKE CREATE ON DATABASE {} FROM {}").format(name, role))
    assert "recorded in the journal" in said(capsys, "approve", "--plan", str(plan), "--dsn", database)[1]


def test_where_nothing_can_be_written_the_file_is_used(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on a replica, where every transaction is read-only."""
    plan = tiny_plan(tmp_path, toml=ONE)
    with connect(database) as conn:
        schema.install(conn)
        conn.execute(
            sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(sql.Identifier(conn.info.dbname))
        )
    code, out, err = said(capsys, "approve", "--plan", str(plan), "--dsn", database)
    assert (code, err) == (0, "")
    assert "approvals.jsonl" in out


def test_a_granted_role_that_is_no_role(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = said(capsys, "approve", "--dsn", database, "--grant", "nobody_of_that_name")
    assert code == 2
    assert "There is no role nobody_of_that_name" in last(err)


def test_a_journal_whose_functions_are_not_granted_still_begins_runs(
    database: str, tmp_path: Path, roles: dict[str, str]
) -> None:
    plan = load_plan(tiny_plan(tmp_path))
    with connect(database) as conn:
        schema.install(conn)
        role = sql.Identifier(roles["ann"])
        for what in (
            "USAGE ON SCHEMA pgferry",
            "ALL ON ALL TABLES IN SCHEMA pgferry",
            "ALL ON ALL SEQUENCES IN SCHEMA pgferry",
        ):
            conn.execute(sql.SQL("GRANT {} TO {}").format(sql.SQL(what), role))
    with connect(as_role(database, roles["ann"])) as conn:
        assert runs.create(conn, plan, "ann") == 1
        assert approvals.kept(conn, plan.sha256) == {}, "a difference cannot be shown later, and nothing else is lost"
    revoke(database)
