"""The command ``pgferry`` on a real server, as a user types it: a whole run, and every way it can be refused."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from console import cli
from console.commands.spawn import start_runner
from console.demo.server import EmbeddedServer
from console.journal import connect as connecting
from console.plan.find import shipped_plan
from tests.engine.tiny import MAPPED, PLAN_TOML, ferry, start, tiny_plan, wait_until

PASSWORD = "hunter2-s3cr3t"
FILL_LATER = "INSERT INTO things SELECT i FROM wanted;\n"
SLOW = "SELECT pg_sleep(2.5);\nINSERT INTO things VALUES (1), (2), (3);\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, and no connection settings but those of the test."""
    for name in [name for name in os.environ if name.startswith(("PG", "XDG_")) and name != "PGFERRY_TEST_MAJOR"]:
        monkeypatch.delenv(name)
    for name in ("HOME", "XDG_STATE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


RUNNERS: list[subprocess.Popen[str]] = []


def settle() -> None:
    """Wait for the runners that commands of this process started: they outlive the command, not the test."""
    while RUNNERS:
        RUNNERS.pop().wait(30)


@pytest.fixture(autouse=True)
def runners(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remember each runner that a command of this process starts."""

    def remembered(*args: Any, **settings: Any) -> subprocess.Popen[str]:
        RUNNERS.append(start_runner(*args, **settings))
        return RUNNERS[-1]

    monkeypatch.setattr("console.commands.world.start_runner", remembered)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command, run in this process; its runner has ended too."""
    code = cli.main(list(words))
    settle()
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


def last(err: str) -> str:
    """The command's own sentence at the end of stderr."""
    line = err.splitlines()[-1]
    assert line.startswith("pgferry: ")
    return line


def objects(conninfo: str) -> set[str]:
    """Every table and schema of a database that is not PostgreSQL's own."""
    with psycopg.connect(conninfo) as conn:
        rows = conn.execute(
            "SELECT nspname || '.' || coalesce(relname, '') FROM pg_namespace n LEFT JOIN pg_class c"
            " ON c.relnamespace = n.oid AND c.relkind IN ('r', 'v', 'S') WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
        ).fetchall()
    return {row[0] for row in rows}


EMPTY = {"public."}


def test_a_run_from_end_to_end(database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    on = ("--plan", str(tiny_plan(tmp_path)), "--dsn", database)

    code, out, err = said(capsys, "status", *on)
    assert (code, err) == (0, "")
    assert "run       0, new" in out
    assert "0 of 3 completed" in out

    code, out, err = ferry("apply", *on, "--until", "A1")
    assert code == 0, err
    assert "1 of 3 completed" in out
    assert "A1 Make things: completed" in err
    assert objects(database) & {"public.things"}

    code, out, err = ferry("apply", *on)
    assert code == 0, err
    assert "done" in err.splitlines()[-1]

    code, out, err = said(capsys, "report", *on, "--format", "json")
    assert (code, err) == (0, "")
    data = json.loads(out)
    assert (data["status"], data["tasks_completed"], data["lease"]) == ("done", 3, None)
    assert [check["ok"] for check in data["checks"]] == [True]
    assert data["checks"][0]["actual"] == "3"

    code, out, err = said(capsys, "rollback", *on, "--to", "2", "--show", "--format", "json")
    assert (code, err) == (0, "")
    shown = json.loads(out)
    assert [step["task_id"] for step in shown["steps"]] == ["B1"]
    assert (shown["steps"][0]["basis"], shown["at_risk"], shown["before"]) == ("nothing runs", [], [])
    code, out, err = said(capsys, "rollback", *on, "--to", "start", "--show")
    assert code == 0
    assert [line.split()[1] for line in out.splitlines()[:3]] == ["B1", "A2", "A1"]
    assert "loses: nothing" in out
    assert "(only the catalogue changes)" in out
    assert "ACCESS EXCLUSIVE on things" in out
    assert "public.things" in objects(database), "only shown"

    without = json.loads(said(capsys, "status", "--dsn", database, "--format", "json")[1])  # by a shorter way, the same
    with_plan = json.loads(said(capsys, "status", *on, "--format", "json")[1])
    assert without.keys() == with_plan.keys()
    assert {name for name in with_plan if without[name] != with_plan[name]} <= {"server_now"}
    assert with_plan["audit"]["intact"]

    code, out, err = ferry("rollback", *on, "--to", "start", "--format", "json")
    assert code == 0, err
    assert json.loads(out)["status"] == "rolled back"
    assert {name for name in objects(database) if not name.startswith("pgferry.")} == EMPTY


def test_a_failure_says_why_and_is_resumed(database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    on = ("--plan", str(tiny_plan(tmp_path, fill=FILL_LATER)), "--dsn", database)
    code, out, err = said(capsys, "apply", *on, "--format", "json")
    assert code == 1
    assert 'relation "wanted" does not exist' in last(err)
    assert "resume or roll back" in last(err)
    assert json.loads(out)["status"] == "failed"
    code, out, _ = said(capsys, "status", *on)
    assert code == 0
    assert "1 of 3 completed" in out
    assert "A2  failed" in out

    with psycopg.connect(database) as conn:
        conn.execute("CREATE TABLE wanted AS SELECT generate_series(1, 4) AS i")
    code, out, err = said(capsys, "resume", *on)
    assert (code, out, err) == (0, "resume: run until end\n", "")
    assert wait_until(lambda: "3 of 3 completed" in said(capsys, "status", *on)[1])
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT count(*) FROM things").fetchone() == (4,)


def test_a_failed_check_stops_the_run(database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tiny_plan(tmp_path, fill="INSERT INTO things VALUES (1);\n")
    code, out, err = said(capsys, "apply", "--plan", str(root), "--dsn", database)
    assert code == 1
    assert "Things are there: expected value >= 3, found 1" in last(err)
    assert "FAILED" in out
    code, out, _ = said(capsys, "check", "--plan", str(root), "--dsn", database, "--format", "json")
    assert code == 1
    result = json.loads(out)[0]
    assert (result["check_id"], result["ok"], result["actual"], result["severity"]) == ("filled", False, "1", "error")
    assert said(capsys, "check", "--plan", str(root), "--dsn", database, "--phase", "9")[0] == 2


def test_before_any_run(database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    on = ("--plan", str(tiny_plan(tmp_path)), "--dsn", database)
    code, _, err = said(capsys, "status", "--dsn", database)
    assert code == 4
    assert "No run of pgferry is known in this database. Start one" in last(err)
    for command in (["pause"], ["resume"], ["rollback", "--to", "start"]):
        code, _, err = said(capsys, *command, *on)
        assert code == 5
        assert "Nothing was started yet." in last(err)
    assert said(capsys, "rollback", *on, "--to", "A7")[0] == 2
    assert objects(database) == EMPTY


def test_pause_with_nothing_running(database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    on = ("--plan", str(tiny_plan(tmp_path)), "--dsn", database)
    assert said(capsys, "apply", *on)[0] == 0
    code, out, err = said(capsys, "pause", *on)
    assert (code, out) == (5, "")
    assert last(err) == "pgferry: Nothing runs that could be paused."


def test_a_second_operator_is_told_who_runs_it(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    on = ("--plan", str(tiny_plan(tmp_path, fill=SLOW)), "--dsn", database)
    first = start("apply", *on, PGFERRY_OPERATOR="night-shift")
    assert wait_until(lambda: "A2  in progress" in said(capsys, "status", *on)[1])
    monkeypatch.setenv("PGFERRY_OPERATOR", "day-shift")
    code, out, err = said(capsys, "apply", *on, "--until", "A1")
    assert (code, out) == (5, "")
    assert "night-shift already runs this: process " in last(err)
    assert "Nothing was changed. Watch it with 'pgferry attach'" in last(err)
    code, out, err = said(capsys, "pause", *on)
    assert (code, out) == (0, "pause after the current batch or statement\n")
    report, said_first = first.communicate(timeout=30)
    assert first.returncode == 6, said_first
    assert "paused" in report
    with psycopg.connect(database) as conn:
        until = conn.execute("SELECT until FROM pgferry.run").fetchone()
    assert until == ("end",), "the second operator's goal was not taken"


def test_a_changed_plan_stops_the_run_until_it_is_rolled_back(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tiny_plan(tmp_path)
    on = ("--plan", str(root), "--dsn", database)
    assert said(capsys, "apply", *on, "--until", "A1")[0] == 0
    changed = "INSERT INTO things VALUES (1), (2), (3), (4);\n"
    tiny_plan(tmp_path, fill=changed)
    code, _, err = said(capsys, "apply", *on)
    assert code == 4
    assert "The plan changed since run 1 began" in last(err)
    assert "Nothing was changed." in last(err)
    tiny_plan(tmp_path)
    assert said(capsys, "rollback", *on, "--to", "start")[0] == 0
    tiny_plan(tmp_path, fill=changed)
    code, out, err = said(capsys, "apply", *on)
    assert code == 0, err
    assert "run       2, done" in out


def test_a_table_of_a_mapping_that_is_not_there(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    on = ("--plan", str(tiny_plan(tmp_path, toml=PLAN_TOML + MAPPED)), "--dsn", database)
    code, out, _ = said(capsys, "plan", *on)
    assert code == 0
    assert "C1" in out
    code, out, err = said(capsys, "apply", *on)
    assert code == 1
    assert "absent" in last(err)
    assert "C1" in last(err)
    assert said(capsys, "rollback", *on, "--to", "start")[0] == 0
    assert {name for name in objects(database) if not name.startswith("pgferry.")} == EMPTY


def test_checks_of_the_shipped_plan_on_an_empty_database(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "check", "--plan", str(shipped_plan()), "--dsn", database, "--phase", "2")
    assert (code, err) == (1, "")
    assert "FAIL  foreign_keys_present" in out
    assert "42P01: relation " in out
    assert "exit code 1: The check could not run: " in out, "programs among them"
    assert "Traceback" not in out
    assert objects(database) == EMPTY


def test_a_plan_for_other_servers_is_refused(database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toml = PLAN_TOML.replace("[paths]", "[server]\nmin = 13\nmax = 13\n[paths]")
    code, _, err = said(capsys, "apply", "--plan", str(tiny_plan(tmp_path, toml=toml)), "--dsn", database)
    assert code == 3
    assert "the plan is for 13 to 13. Nothing was changed." in last(err)
    assert objects(database) == EMPTY


def test_a_server_that_is_too_old(
    database: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "MIN_VERSION", 990000)
    code, _, err = said(capsys, "status", "--dsn", database)
    assert code == 3
    assert "pgferry needs 13 or newer. Nothing was changed." in last(err)


def test_an_unknown_database(server: EmbeddedServer, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = said(capsys, "status", "--dsn", server.conninfo("no_such_place"))
    assert code == 3
    assert 'database "no_such_place" does not exist. Nothing was changed. Check the database name' in last(err)


@dataclass(frozen=True)
class Account:
    """A role that owns a database and must give its password."""

    role: str
    database: str
    host: str
    port: int

    def dsn(self, **more: str) -> str:
        return psycopg.conninfo.make_conninfo(
            host=self.host, port=self.port, user=self.role, dbname=self.database, **more
        )


@pytest.fixture
def account(server: EmbeddedServer, database: str) -> Iterator[Account]:
    """The database of the test handed to a role whose password the server wants to see."""
    role = f"dba_{uuid.uuid4().hex[:8]}"
    rules = server.data_dir / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all {role} scram-sha-256\n{before}")
    found = conninfo_to_dict(database)
    name = str(found["dbname"])
    with psycopg.connect(server.conninfo(), autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), PASSWORD))
        conn.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(name), sql.Identifier(role)))
        conn.execute("SELECT pg_reload_conf()")
    yield Account(role, name, str(found["host"]), int(str(found["port"])))
    rules.write_text(before)
    with psycopg.connect(server.conninfo(), autocommit=True) as conn:
        conn.execute(sql.SQL("ALTER DATABASE {} OWNER TO postgres").format(sql.Identifier(name)))
        with psycopg.connect(database) as inside:
            inside.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(role)))
        conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
        conn.execute("SELECT pg_reload_conf()")


def rejected(account: Account) -> bool:
    try:
        psycopg.connect(account.dsn(password="wrong")).close()
    except psycopg.OperationalError:
        return True
    return False


def test_a_wrong_password(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    assert wait_until(lambda: rejected(account)), "the server must want to see the password"
    code, out, err = said(capsys, "status", "--dsn", account.dsn(password="s3cr3t-but-wrong"))
    assert code == 3
    assert "password authentication failed" in last(err)
    assert "Check the password" in last(err)
    assert "s3cr3t" not in out + err
    code, _, err = said(capsys, "status", "--dsn", account.dsn())
    assert code == 3
    assert "Check the password" in last(err)


def test_every_way_to_name_a_connection(
    account: Account, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = str(tiny_plan(tmp_path))

    def works(*words: str) -> bool:
        code, out, err = said(capsys, "status", "--plan", root, *words)
        return code == 0 and f"database  {account.database} at local:{account.port}" in out and err == ""

    assert works("--dsn", account.dsn(password=PASSWORD))
    assert works(
        "--dsn", f"postgresql://{account.role}:{PASSWORD}@/{account.database}?host={account.host}&port={account.port}"
    )

    passwords = home / ".pgpass"
    passwords.write_text(f"*:{account.port}:*:{account.role}:{PASSWORD}\n")
    passwords.chmod(0o600)
    with monkeypatch.context() as scope:
        scope.setenv("PGPASSFILE", str(passwords))  # libpq asks the account database for the home, not HOME
        assert works("--dsn", account.dsn())

    with monkeypatch.context() as scope:
        for name, value in (
            ("PGHOST", account.host), ("PGPORT", str(account.port)), ("PGUSER", account.role),
            ("PGDATABASE", account.database), ("PGPASSWORD", PASSWORD),
        ):  # fmt: skip
            scope.setenv(name, value)
        assert works()
        assert not works("--dsn", "dbname=postgres")

    services = tmp_path / "services.conf"
    services.write_text(
        f"[ferry]\nhost={account.host}\nport={account.port}\nuser={account.role}\ndbname={account.database}\n"
        f"password={PASSWORD}\n"
    )
    with monkeypatch.context() as scope:
        scope.setenv("PGSERVICEFILE", str(services))
        assert works("--dsn", "service=ferry")
        scope.setenv("PGSERVICE", "ferry")
        assert works()
        scope.setenv("PGSERVICE", "absent")
        code, _, err = said(capsys, "status", "--plan", root)
        assert code == 3
        assert "absent" in last(err)


def command_lines() -> str:
    """The arguments of every process, as anyone on this host can read them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(found)


def test_a_password_is_nowhere(account: Account, server: EmbeddedServer, home: Path, tmp_path: Path) -> None:
    services = tmp_path / "services.conf"
    services.write_text(f"[ferry]\npassword={PASSWORD}\n")
    root = tiny_plan(tmp_path, fill=SLOW)
    words = ("apply", "--plan", str(root), "--dsn", account.dsn(service="ferry"))
    running = start(*words, PGSERVICEFILE=str(services))
    superuser = server.conninfo(account.database)
    assert wait_until(lambda: "pg_sleep" in activity(superuser))
    seen = command_lines()
    assert "console.engine.runner" in seen
    assert PASSWORD not in seen
    assert PASSWORD not in activity(superuser)
    out, err = running.communicate(timeout=30)
    assert running.returncode == 0, err
    assert PASSWORD not in out + err
    # The journal, and whatever was written to the home: logs of the runner above all.
    dump = subprocess.run(
        [server.binaries.program("pg_dump"), "-d", superuser], capture_output=True, text=True, check=True
    )
    assert "pgferry.event" in dump.stdout
    assert PASSWORD not in dump.stdout
    files = [path for path in home.rglob("*") if path.is_file()]
    assert any(path.name == "run-1.log" for path in files)
    assert all(PASSWORD not in path.read_text(errors="replace") for path in files)


def test_a_password_given_on_the_command_line_goes_to_the_runner_through_a_pipe(
    account: Account, server: EmbeddedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tiny_plan(tmp_path, fill=SLOW)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(cli.main, ["apply", "--plan", str(root), "--dsn", account.dsn(password=PASSWORD)])
        superuser = server.conninfo(account.database)
        assert wait_until(lambda: "pg_sleep" in activity(superuser))
        assert PASSWORD not in command_lines()
        assert running.result() == 0
    settle()
    out, err = capsys.readouterr()
    assert PASSWORD not in out + err


def activity(conninfo: str) -> str:
    """What every session of the server does, as text."""
    with psycopg.connect(conninfo) as conn:
        rows = conn.execute(
            "SELECT concat_ws(' ', application_name, query) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    return "\n".join(row[0] for row in rows)


@pytest.fixture
def guest(server: EmbeddedServer, database: str) -> Iterator[str]:
    """The connection string of a role that may connect and nothing else."""
    role = f"guest_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server.conninfo(), autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
    yield psycopg.conninfo.make_conninfo(database, user=role)
    with psycopg.connect(server.conninfo(), autocommit=True) as conn:
        conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_a_role_that_may_not_make_the_journal(
    guest: str, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(tiny_plan(tmp_path))
    code, out, err = said(capsys, "apply", "--plan", root, "--dsn", guest)
    assert (code, out) == (3, "")
    assert "permission denied for database" in last(err)
    assert "Nothing was changed. Grant CREATE on the database" in last(err)
    assert objects(database) == EMPTY
    assert said(capsys, "status", "--plan", root, "--dsn", guest)[0] == 0


def test_a_role_that_may_not_read_the_journal(
    guest: str, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(tiny_plan(tmp_path))
    assert said(capsys, "apply", "--plan", root, "--dsn", database, "--until", "A1")[0] == 0
    for command in (["status"], ["report"], ["pause"], ["apply"], ["rollback", "--to", "start"]):
        code, out, err = said(capsys, *command, "--plan", root, "--dsn", guest)
        assert (code, out) == (3, "")
        assert "permission denied for schema pgferry. Nothing was changed." in last(err)


def test_a_role_without_login(server: EmbeddedServer, database: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = said(capsys, "status", "--dsn", psycopg.conninfo.make_conninfo(database, user="pg_monitor"))
    assert code == 3
    assert 'role "pg_monitor" is not permitted to log in' in last(err)


def test_a_read_only_server(database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    on = ("--plan", str(tiny_plan(tmp_path)), "--dsn", psycopg.conninfo.make_conninfo(database, options="-c default_transaction_read_only=on"))  # fmt: skip
    assert said(capsys, "status", *on)[0] == 0
    code, _, err = said(capsys, "apply", *on)
    assert code == 5
    assert "read-only" in last(err)
    assert objects(database) == EMPTY


def test_a_state_folder_that_cannot_be_written(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(blocked))
    code, _, err = said(capsys, "apply", "--plan", str(tiny_plan(tmp_path)), "--dsn", database)
    assert code == 1
    assert "The system refused: Not a directory" in last(err)


def test_an_unknown_run(database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "apply", "--plan", str(tiny_plan(tmp_path)), "--dsn", database)[0] == 0
    code, _, err = said(capsys, "attach", "77", "--dsn", database)
    assert code == 2
    assert last(err) == "pgferry: There is no run 77 in this database."


def test_a_plan_with_the_facts_of_a_database(
    guest: str, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with psycopg.connect(database) as conn:
        conn.execute("CREATE TABLE absent (i int PRIMARY KEY)")
        conn.execute("CREATE TABLE absent_v2 (i int PRIMARY KEY)")
    before = objects(database)
    root = str(tiny_plan(tmp_path, toml=PLAN_TOML + MAPPED))
    for dsn in (database, guest):  # the catalogue is open to a role that may read no table
        code, out, err = said(capsys, "plan", "--plan", root, "--dsn", dsn, "--format", "json")
        assert (code, err) == (0, "")
        carry = json.loads(out)["phases"][2]["tasks"][0]
        assert ["absent", 0] in [size[:2] for size in carry["preview"]["sizes"]]
    assert objects(database) == before
