"""The tables of other tools: read before a run, written with each migration, agreeing afterwards."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from console.commands import migrations
from console.engine.ledgers.standing import standing
from console.errors import PlanError, Refused
from console.journal import runs, schema
from console.journal.connect import Conn, connect
from console.journal.read import run_state
from console.journal.state import RunStatus, TaskStatus, Verb
from console.plan.load import load_plan
from console.plan.model import Plan
from tests.engine.scene import order
from tests.unit.migration_files import DIRECTORIES, INDEX, POSTS, USERS, put

FLYWAY = """CREATE TABLE flyway_schema_history (installed_rank int PRIMARY KEY, version varchar(50),
    description varchar(200) NOT NULL, type varchar(20) NOT NULL, script varchar(1000) NOT NULL, checksum int,
    installed_by varchar(100) NOT NULL, installed_on timestamp NOT NULL DEFAULT now(), execution_time int NOT NULL,
    success boolean NOT NULL)"""
PRISMA = """CREATE TABLE _prisma_migrations (id varchar(36) PRIMARY KEY, checksum varchar(64) NOT NULL,
    finished_at timestamptz, migration_name varchar(255) NOT NULL, logs text, rolled_back_at timestamptz,
    started_at timestamptz NOT NULL DEFAULT now(), applied_steps_count int NOT NULL DEFAULT 0)"""
SQITCH = """CREATE SCHEMA sqitch;
CREATE TABLE sqitch.projects (project text PRIMARY KEY, uri text UNIQUE, created_at timestamptz NOT NULL
    DEFAULT clock_timestamp(), creator_name text NOT NULL, creator_email text NOT NULL);
CREATE TABLE sqitch.changes (change_id text PRIMARY KEY, script_hash text, change text NOT NULL,
    project text NOT NULL REFERENCES sqitch.projects, note text NOT NULL DEFAULT '',
    committed_at timestamptz NOT NULL DEFAULT clock_timestamp(), committer_name text NOT NULL,
    committer_email text NOT NULL, planned_at timestamptz NOT NULL, planner_name text NOT NULL,
    planner_email text NOT NULL, UNIQUE (project, script_hash));
CREATE TABLE sqitch.tags (tag_id text PRIMARY KEY, tag text NOT NULL, project text NOT NULL REFERENCES sqitch.projects,
    change_id text NOT NULL REFERENCES sqitch.changes, note text NOT NULL DEFAULT '',
    committed_at timestamptz NOT NULL DEFAULT clock_timestamp(), committer_name text NOT NULL,
    committer_email text NOT NULL, planned_at timestamptz NOT NULL, planner_name text NOT NULL,
    planner_email text NOT NULL, UNIQUE (project, tag));
CREATE TABLE sqitch.dependencies (change_id text NOT NULL REFERENCES sqitch.changes ON DELETE CASCADE,
    type text NOT NULL, dependency text NOT NULL, dependency_id text REFERENCES sqitch.changes
    CHECK (type = 'require' AND dependency_id IS NOT NULL OR type = 'conflict' AND dependency_id IS NULL),
    PRIMARY KEY (change_id, dependency));
CREATE TABLE sqitch.events (event text NOT NULL, change_id text NOT NULL, change text NOT NULL,
    project text NOT NULL REFERENCES sqitch.projects, note text NOT NULL DEFAULT '',
    requires text[] NOT NULL DEFAULT '{}', conflicts text[] NOT NULL DEFAULT '{}', tags text[] NOT NULL DEFAULT '{}',
    committed_at timestamptz NOT NULL DEFAULT clock_timestamp(), committer_name text NOT NULL,
    committer_email text NOT NULL, planned_at timestamptz NOT NULL, planner_name text NOT NULL,
    planner_email text NOT NULL, PRIMARY KEY (change_id, committed_at))"""
TABLES = {  # as the tool makes it; its row for the first migration; what it lists as applied
    "flyway": (
        FLYWAY,
        "INSERT INTO flyway_schema_history VALUES (1, '1', 'users', 'SQL', 'V1__users.sql', {checksum}, 'x', now(), 1, true)",
        "SELECT version FROM flyway_schema_history h WHERE installed_rank = (SELECT max(installed_rank)"
        " FROM flyway_schema_history WHERE version = h.version) AND type = 'SQL' ORDER BY installed_rank",
    ),
    "golang-migrate": (
        "CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL)",
        "INSERT INTO schema_migrations VALUES (1, false)",
        "SELECT version::text FROM schema_migrations WHERE NOT dirty",
    ),
    "dbmate": (
        "CREATE TABLE schema_migrations (version varchar PRIMARY KEY)",
        "INSERT INTO schema_migrations VALUES ('20260101')",
        "SELECT version FROM schema_migrations ORDER BY 1",
    ),
    "goose": (
        "CREATE TABLE goose_db_version (id serial PRIMARY KEY, version_id bigint NOT NULL, is_applied boolean NOT NULL,"
        " tstamp timestamp DEFAULT now()); INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, true)",
        "INSERT INTO goose_db_version (version_id, is_applied) VALUES (1, true)",
        "SELECT version_id::text FROM goose_db_version WHERE version_id > 0 AND is_applied ORDER BY id",
    ),
    "diesel": (
        "CREATE TABLE __diesel_schema_migrations (version varchar(50) PRIMARY KEY, run_on timestamp NOT NULL DEFAULT now())",
        "INSERT INTO __diesel_schema_migrations VALUES ('20260101100000')",
        "SELECT version FROM __diesel_schema_migrations ORDER BY 1",
    ),
    "prisma": (
        PRISMA,
        "INSERT INTO _prisma_migrations (id, checksum, finished_at, migration_name) VALUES ('1', '{checksum}', now(), '20260101_users')",
        "SELECT migration_name FROM _prisma_migrations WHERE finished_at IS NOT NULL AND rolled_back_at IS NULL ORDER BY 1",
    ),
    "sqitch": (
        SQITCH,
        "INSERT INTO sqitch.projects VALUES ('blog', NULL, now(), 'x', 'x@y'), ('other', 'u', now(), 'x', 'x@y');"
        "INSERT INTO sqitch.changes (change_id, script_hash, change, project, committer_name, committer_email, planned_at,"
        " planner_name, planner_email) VALUES ('2361443b3f24dab4b0f2f8741cee564938262b1b', 'h', 'users', 'blog', 'x', 'x@y',"
        " now(), 'x', 'x@y'), ('0', 'h', 'posts', 'other', 'x', 'x@y', now(), 'x', 'x@y')",
        "SELECT change FROM sqitch.changes WHERE project = 'blog' ORDER BY committed_at",
    ),
}  # fmt: skip
VERSIONS = {
    "flyway": ["1", "1.9", "1.10"], "golang-migrate": ["1", "2", "10"], "dbmate": ["20260101", "20260102", "20260103"],
    "goose": ["1", "2", "10"], "diesel": ["20260101100000", "20260102100000", "20260103100000"],
    "prisma": ["20260101_users", "20260102_posts", "20260103_author_index"],
    "sqitch": ["users", "posts", "author-index"],
}  # fmt: skip


def begin(conn: Conn, plan: Plan) -> int:
    before = migrations.ready(conn, plan, forward=True)
    schema.install(conn)
    return runs.create(conn, plan, "tester", before)


def listed(conn: Conn, layout: str) -> list[str]:
    return [row[0] for row in conn.execute(TABLES[layout][2]).fetchall()]


def as_left_by_its_tool(conn: Conn, layout: str, plan: Plan) -> None:
    """The first migration applied, and the tool's own row for it."""
    origin = plan.tasks[0].origin
    assert origin is not None
    conn.execute(USERS)
    conn.execute(TABLES[layout][0])
    conn.execute(TABLES[layout][1].replace("{checksum}", origin.checksum))


@pytest.mark.parametrize("layout", TABLES)
def test_only_what_is_pending_runs_and_the_tool_agrees_afterwards(database: str, tmp_path: Path, layout: str) -> None:
    plan = load_plan(put(tmp_path, DIRECTORIES[layout]))
    first, *others = [task.id for task in plan.tasks]
    with connect(database) as conn:
        as_left_by_its_tool(conn, layout, plan)
        found = standing(conn, plan)
        assert (list(found.applied), found.refusal) == ([first], "")
        assert len(found.words) == 1, found.words
        assert [task.id for task in migrations.pending(conn, plan).tasks] == others
        run_id = begin(conn, plan)

        status, _ = order(database, plan, run_id, Verb.START, until="end")
        state = run_state(conn, run_id, environment="DEV")
        assert status is RunStatus.DONE, state.error
        assert [t.status for t in state.tasks] == [TaskStatus.BEFORE, TaskStatus.COMPLETED, TaskStatus.COMPLETED]
        expected = VERSIONS[layout]
        assert listed(conn, layout) == (expected[-1:] if layout == "golang-migrate" else expected)
        assert set(standing(conn, plan).applied) == {first, *others}

        status, _ = order(database, plan, run_id, Verb.ROLLBACK, to="start")
        assert status is RunStatus.ROLLED_BACK
        assert listed(conn, layout) == expected[:1], "what was there before the run stays"
        assert conn.execute("SELECT to_regclass('users') IS NOT NULL, to_regclass('posts')").fetchone() == (True, None)

        status, _ = order(database, plan, run_id, Verb.ROLLBACK, to=first)
        assert listed(conn, layout) == [], "named, it is undone too"
        assert conn.execute("SELECT to_regclass('users')").fetchone() == (None,)
        assert not standing(conn, plan).applied


@pytest.mark.parametrize("layout", ["dbmate", "golang-migrate", "sqitch"])
def test_migration_and_note_are_one_transaction(database: str, tmp_path: Path, layout: str) -> None:
    plan = load_plan(put(tmp_path, DIRECTORIES[layout]))
    with connect(database) as conn:
        conn.execute(TABLES[layout][0])
        run_id = begin(conn, plan)
        table = re.search(r"FROM (\S+)", TABLES[layout][2])
        assert table is not None
        conn.execute(
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$;"
            f" CREATE TRIGGER no BEFORE INSERT ON {table.group(1)} EXECUTE FUNCTION no()"
        )
        status, _ = order(database, plan, run_id, Verb.START, until="end")
        assert status is RunStatus.FAILED
        assert "not today" in run_state(conn, run_id, environment="DEV").error
        assert conn.execute("SELECT to_regclass('users')").fetchone() == (None,)

        conn.execute("DROP FUNCTION no CASCADE")
        status, _ = order(database, plan, run_id, Verb.RESUME)
        assert status is RunStatus.DONE


def test_a_note_that_failed_after_a_statement_outside_a_transaction_is_made_up_for(
    database: str, tmp_path: Path
) -> None:
    plan = load_plan(put(tmp_path, DIRECTORIES["dbmate"]))
    with connect(database) as conn:
        as_left_by_its_tool(conn, "dbmate", plan)
        run_id = begin(conn, plan)
        conn.execute(
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$;"
            " CREATE TRIGGER no BEFORE INSERT ON schema_migrations FOR EACH ROW WHEN (NEW.version = '20260103')"
            " EXECUTE FUNCTION no()"
        )
        status, _ = order(database, plan, run_id, Verb.START, until="end")
        assert status is RunStatus.FAILED
        assert listed(conn, "dbmate") == ["20260101", "20260102"]
        conn.execute("DROP FUNCTION no CASCADE")
        status, _ = order(database, plan, run_id, Verb.RESUME)
        assert status is RunStatus.DONE
        assert listed(conn, "dbmate") == VERSIONS["dbmate"]
        built = conn.execute(
            "SELECT count(*) FROM pgferry.statement WHERE sql LIKE 'CREATE INDEX%' AND status = 'done'"
        )
        assert built.fetchone() == (1,)


def test_a_migration_that_another_tool_applies_meanwhile_is_rolled_back_here(database: str, tmp_path: Path) -> None:
    files = {
        n: t.replace("CREATE TABLE posts", "CREATE TABLE IF NOT EXISTS posts") for n, t in DIRECTORIES["dbmate"].items()
    }
    plan = load_plan(put(tmp_path, files))
    with connect(database) as conn:
        as_left_by_its_tool(conn, "dbmate", plan)
        run_id = begin(conn, plan)
        conn.execute("INSERT INTO schema_migrations VALUES ('20260102')")
        status, _ = order(database, plan, run_id, Verb.START, until="end")
        assert status is RunStatus.FAILED
        assert "20260102 was applied by another tool meanwhile" in run_state(conn, run_id, environment="DEV").error
        assert conn.execute("SELECT to_regclass('posts')").fetchone() == (None,)


@pytest.mark.parametrize(
    ("layout", "row", "says"),
    [
        ("golang-migrate", "INSERT INTO schema_migrations VALUES (2, true)", "left version 2 half done"),
        ("flyway", "INSERT INTO flyway_schema_history VALUES (2, '1.9', 'x', 'SQL', 'x', 1, 'x', now(), 1, false)",
         "Flyway failed in 1.9"),
        ("prisma", "INSERT INTO _prisma_migrations (id, checksum, migration_name) VALUES ('2', '', '20260102_posts')",
         "Prisma failed in 20260102_posts"),
    ],
)  # fmt: skip
def test_what_a_tool_left_half_done_is_not_built_upon(
    database: str, tmp_path: Path, layout: str, row: str, says: str
) -> None:
    plan = load_plan(put(tmp_path, DIRECTORIES[layout]))
    with connect(database) as conn:
        conn.execute(TABLES[layout][0])
        conn.execute(row)
        with pytest.raises(Refused, match=says):
            begin(conn, plan)
        assert not schema.installed(conn)
        assert says in " ".join(migrations.pending(conn, plan).notes)


def test_flyways_history_is_read_as_flyway_reads_it(database: str, tmp_path: Path) -> None:
    files = {
        "V1__a.sql": "",
        "V2__b.sql": "",
        "V3__c.sql": "",
        "V4__d.sql": "",
        "V5__e.sql": "",
        "R__same.sql": "x",
        "R__new.sql": "y",
    }
    plan = load_plan(put(tmp_path, files))
    same = plan.task("R__same").origin
    assert same is not None
    with connect(database) as conn:
        conn.execute(FLYWAY)
        for rank, (version, words, kind, checksum) in enumerate(
            [
                (None, "<< Flyway Schema Creation >>", "SCHEMA", None), ("2", "<< Flyway Baseline >>", "BASELINE", None),
                ("3.0", "c", "SQL", "0"), ("4", "d", "SQL", "0"), ("4", "d", "UNDO_SQL", None), ("5", "e", "SQL", "7"),
                (None, "same", "SQL", same.checksum), (None, "new", "SQL", "1"), ("9", "gone", "SQL", "1"),
            ]
        ):  # fmt: skip
            conn.execute(
                "INSERT INTO flyway_schema_history VALUES (%s, %s, %s, %s, 'x', %s, 'x', now(), 1, true)",
                (rank, version, words, kind, checksum),
            )
        found = standing(conn, plan)
    assert list(found.applied) == ["V1", "V2", "V3", "V5", "R__same"]
    said = " ".join(found.words)
    assert "no file here: 9." in said
    assert "No longer the file that Flyway applied (by its checksum): V5." in said
    assert "Pending although a later one is applied: V4." in said


def test_sqitchs_registry_is_written_as_sqitch_writes_it(database: str, tmp_path: Path) -> None:
    plan = load_plan(put(tmp_path, DIRECTORIES["sqitch"]))
    with connect(database) as conn:
        as_left_by_its_tool(conn, "sqitch", plan)
        run_id = begin(conn, plan)
        order(database, plan, run_id, Verb.START, until="end")
        # The identities are those that Sqitch 1.3.1 gives the same plan.
        query = (
            "SELECT change, change_id, planner_email FROM sqitch.changes WHERE script_hash <> 'h' ORDER BY committed_at"
        )
        assert conn.execute(query).fetchall() == [
            ("posts", "a510a61efc4c3ab656f1a55e5b663e0c84281942", "ann@example.org"),
            ("author-index", "712d04073919f813f0965675c774d8c022929f19", "ann@example.org"),
        ]
        assert conn.execute("SELECT tag, tag_id, note FROM sqitch.tags").fetchall() == [
            ("@v1.0", "0801e917eb93dba09ae5d3bd53bb3f7fef6a05cf", "First release.")
        ]
        assert conn.execute("SELECT type, dependency FROM sqitch.dependencies ORDER BY 2").fetchall() == [
            ("require", "posts"), ("require", "users"), ("require", "users@v1.0"),
        ]  # fmt: skip
        order(database, plan, run_id, Verb.ROLLBACK, to="start")
        query = "SELECT event, change, tags, requires FROM sqitch.events ORDER BY committed_at"
        assert conn.execute(query).fetchall() == [
            ("deploy", "posts", ["@v1.0"], ["users"]), ("deploy", "author-index", [], ["posts", "users@v1.0"]),
            ("revert", "author-index", [], ["posts", "users@v1.0"]), ("revert", "posts", ["@v1.0"], ["users"]),
        ]  # fmt: skip
        assert conn.execute("SELECT count(*) FROM sqitch.tags").fetchone() == (0,)


def test_a_table_in_a_schema_of_its_own_is_found(database: str, tmp_path: Path) -> None:
    plan = load_plan(put(tmp_path, DIRECTORIES["dbmate"]))
    with connect(database) as conn:
        conn.execute("CREATE SCHEMA app; CREATE TABLE app.schema_migrations (version varchar PRIMARY KEY)")
        conn.execute("CREATE TABLE schema_migrations (version bigint, dirty boolean)")  # golang-migrate's
        assert "app.schema_migrations: 0 of 3" in standing(conn, plan).words[0]
        conn.execute("CREATE SCHEMA web; CREATE TABLE web.schema_migrations (version varchar PRIMARY KEY)")
        with pytest.raises(Refused, match=r"app\.schema_migrations, web\.schema_migrations"):
            standing(conn, plan)


def test_without_the_right_to_read_the_table_nothing_is_applied(database: str, tmp_path: Path) -> None:
    plan = load_plan(put(tmp_path, DIRECTORIES["dbmate"]))
    with connect(database) as conn:
        as_left_by_its_tool(conn, "dbmate", plan)
        conn.execute("DROP ROLE IF EXISTS ledger_blind")
        conn.execute("CREATE ROLE ledger_blind; SET ROLE ledger_blind")
        try:
            assert "what follows counts as pending" in " ".join(migrations.pending(conn, plan).notes)
            with pytest.raises(Refused, match="cannot be read by this role"):
                begin(conn, plan)
        finally:
            conn.execute("RESET ROLE; DROP ROLE ledger_blind")


def test_a_tool_that_is_not_read_is_named(database: str, tmp_path: Path) -> None:
    plan = load_plan(put(tmp_path, DIRECTORIES["plain"]))
    with connect(database) as conn:
        conn.execute("CREATE TABLE alembic_version (version_num varchar)")
        assert "(alembic_version); that is not looked at" in " ".join(standing(conn, plan).words)


def test_no_run_begins_on_files_that_cannot_be_carried_out(database: str, tmp_path: Path) -> None:
    files = dict(DIRECTORIES["goose"])
    files["20_bad.sql"] = f"-- +goose Up\nSELECT 1;\n{INDEX}"
    plan = load_plan(put(tmp_path, files))
    with connect(database) as conn:
        with pytest.raises(PlanError, match="No migration was applied") as caught:
            begin(conn, plan)
        assert (caught.value.file, caught.value.line) == ("20_bad.sql", 3)
        assert not schema.installed(conn)


def pgferry(database: str, tmp_path: Path, *words: str, code: int = 0) -> str:
    """Run the command on the directory of migrations; what it said on stderr. It must end with this exit code."""
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "PGFERRY_ENV": "DEV"}
    done = subprocess.run(
        [sys.executable, "-m", "console", *words, "--plan", str(tmp_path / "migrations"), "--dsn", database],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stderr


def test_a_directory_that_grew_is_a_new_run_of_what_is_new(database: str, tmp_path: Path) -> None:
    put(tmp_path, {"001_users.sql": USERS, "001_users.down.sql": "DROP TABLE users;"})
    pgferry(database, tmp_path, "apply")
    put(tmp_path, {"002_posts.sql": POSTS, "002_posts.down.sql": "DROP TABLE posts;"})
    said = pgferry(database, tmp_path, "apply")
    assert "1 of 2 migrations are applied, as pgferry's journal has it" in said
    assert "Without a way back" not in said
    pgferry(database, tmp_path, "apply")
    with connect(database) as conn:
        state = run_state(conn, 2, environment="DEV")
        assert [(t.id, t.status, t.note) for t in state.tasks] == [
            ("001", TaskStatus.BEFORE, "applied in run 1"),
            ("002", TaskStatus.COMPLETED, ""),
        ]
        assert conn.execute("SELECT count(*) FROM pgferry.run").fetchone() == (2,), "nothing new, no new run"
        pgferry(database, tmp_path, "rollback", "--to", "001")
        assert conn.execute("SELECT to_regclass('users'), to_regclass('posts')").fetchone() == (None, None)


def test_a_migration_that_failed_is_mended_and_run_again(database: str, tmp_path: Path) -> None:
    files = {"1_a.up.sql": USERS, "1_a.down.sql": "DROP TABLE users;", "2_b.up.sql": "SELECT 1;\nSELECT nothing;\n"}
    put(tmp_path, files)
    assert "nothing" in pgferry(database, tmp_path, "apply", code=1)
    put(tmp_path, {"2_b.up.sql": POSTS})
    assert "Without a way back once they are applied: 2." in pgferry(database, tmp_path, "apply")
    with connect(database) as conn:
        assert [(t.id, t.status) for t in run_state(conn, 1, environment="DEV").tasks] == [
            ("1", TaskStatus.COMPLETED),
            ("2", TaskStatus.DEFERRED),
        ]
        assert [(t.id, t.status) for t in run_state(conn, 2, environment="DEV").tasks] == [
            ("1", TaskStatus.BEFORE),
            ("2", TaskStatus.COMPLETED),
        ]
        assert conn.execute("SELECT to_regclass('posts') IS NOT NULL").fetchone() == (True,)


def test_a_migration_that_stopped_half_way_is_not_left_so(database: str, tmp_path: Path) -> None:
    put(tmp_path, {"1_a.sql": f"{USERS}SELECT nothing;\n"})  # plain: each statement alone, so the table stands
    pgferry(database, tmp_path, "apply", code=1)
    put(tmp_path, {"1_a.sql": USERS})
    assert "The plan changed since run 1 began" in pgferry(database, tmp_path, "apply", code=4)


def test_a_rehearsal_against_a_database_carries_what_is_pending_there(database: str, tmp_path: Path) -> None:
    plan = load_plan(put(tmp_path, DIRECTORIES["flyway"]))
    with connect(database) as conn:
        as_left_by_its_tool(conn, "flyway", plan)
    said = pgferry(database, tmp_path, "rehearse", "--data", "made", "--format", "json")
    assert "flyway_schema_history: 1 of 3" in said
    assert "1/2 V1.9" in said
    assert "2/2 V1.10" in said


def test_checks_are_those_of_what_is_applied(database: str, tmp_path: Path) -> None:
    plan = load_plan(put(tmp_path, DIRECTORIES["sqitch"]))
    with connect(database) as conn:
        as_left_by_its_tool(conn, "sqitch", plan)
        run_id = begin(conn, plan)
        order(database, plan, run_id, Verb.START, until="users")
    pgferry(database, tmp_path, "check")
