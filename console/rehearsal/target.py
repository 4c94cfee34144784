"""The target's schema, read for a scratch server: nothing is written there, and no lock is waited for long."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

import postgast
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo

from console.demo.binaries import Binaries, installations
from console.errors import ConnectionFailed, FerryError, Refused
from console.journal.connect import Conn, connect
from console.rehearsal import schema
from console.rehearsal.ground import Lacks, Say, load, make_roles, whole
from console.sql.nodes import which
from console.text import plain

_ELSEWHERE = {
    "create_subscription_stmt": "a subscription",
    "create_user_mapping_stmt": "a user mapping",
    "create_foreign_server_stmt": "a foreign server",
    "create_foreign_table_stmt": "a foreign table",
    "import_foreign_schema_stmt": "a foreign schema",
}
_SETTINGS = ("variable_set_stmt",)  # of a newer pg_dump: the scratch server need not know them
_LOCK_WAIT = "--lock-wait-timeout=2s"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the target: server_version_num, extensions with the names of their members, roles, search_path."""

    version: int
    extensions: tuple[str, ...]
    members: frozenset[str]
    roles: tuple[str, ...]
    search_path: str

    @property
    def major(self) -> int:
        """The major version."""
        return self.version // 10000


def facts(conn: Conn) -> Facts:
    """Read the facts; every role may see them. Raises Refused where a run has changed the target already."""
    under_way = conn.execute(
        "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND (tgname LIKE 'zz\\_pgferry%' OR tgname LIKE 'aa\\_pgferry%')"
    ).fetchone()
    if under_way and under_way[0]:
        raise Refused(
            "A run of a plan has changed the target already: its triggers are on.",
            state="Nothing was rehearsed.",
            do="Rehearse before the run, from the plan's baseline (without --dsn), or on a copy of the target.",
        )
    rows = conn.execute("SELECT extname FROM pg_extension ORDER BY 1").fetchall()
    members = conn.execute(
        "SELECT (pg_identify_object(d.classid, d.objid, 0)).name FROM pg_depend d WHERE d.deptype = 'e'"
        " UNION SELECT p.proname FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid"
        " WHERE d.deptype = 'e' AND d.classid = 'pg_proc'::regclass"
    ).fetchall()
    roles = conn.execute("SELECT rolname FROM pg_roles WHERE rolname NOT LIKE 'pg\\_%' ORDER BY 1").fetchall()
    path = conn.execute("SELECT current_setting('search_path')").fetchone()
    assert path is not None
    return Facts(
        conn.info.server_version,
        tuple(row[0] for row in rows),
        frozenset(row[0] for row in members if row[0]),
        tuple(row[0] for row in roles),
        path[0],
    )


def dump(conninfo: str, found: Facts) -> str:
    """The target's schema as pg_dump writes it. Raises FerryError, ConnectionFailed where the role may not lock its tables."""
    program = _pg_dump(found.major)
    bare, environment = outside_arguments(conninfo)
    command = [str(program.program("pg_dump")), "--schema-only", "--exclude-schema=pgferry", "--no-subscriptions"]
    command += ["--no-tablespaces", _LOCK_WAIT, "-d", bare]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment, check=False)
    if done.returncode == 0:
        return done.stdout
    words = plain(done.stderr.strip().splitlines()[0] if done.stderr.strip() else "no word").removeprefix("pg_dump: ")
    if "permission denied" in done.stderr:
        raise ConnectionFailed(
            f"This role may not have the target's schema dumped: {words.removeprefix('error: ').rstrip('.')}.",
            state="Nothing was rehearsed.",
            do="pg_dump locks each table, for which it needs SELECT on it (or pg_read_all_data, from 14 on); else rehearse"
            " from the plan's baseline, without --dsn.",
        )
    raise FerryError(
        f"pg_dump {program.version} could not read the target's schema: {words}.",
        state="Nothing was rehearsed.",
        do="If a table was locked for long, try again; else rehearse from the plan's baseline, without --dsn.",
    )


def _pg_dump(major: int) -> Binaries:
    """The oldest pg_dump that reads a server of this version. Raises ConnectionFailed."""
    found = [one for one in installations() if one.program("pg_dump").is_file()]
    fit = sorted((one for one in found if one.major >= major), key=lambda one: one.major)
    if fit:
        return fit[0]
    have = ", ".join(sorted({one.version for one in found}))
    raise ConnectionFailed(
        f"The target is PostgreSQL {major}, and no pg_dump of that version or a newer one is on this machine.",
        state=f"Found only: {have}." if have else "",
        do="Install PostgreSQL's client programs of that version, or rehearse from the plan's baseline, without --dsn.",
    )


def outside_arguments(conninfo: str) -> tuple[str, Mapping[str, str]]:
    """A connection string fit for a program's arguments, which everybody may read, and the environment with the rest."""
    environment = dict(os.environ)
    given = conninfo_to_dict(conninfo) if conninfo else {}
    variables = {o.keyword.decode(): o.envvar.decode() for o in Conninfo.get_defaults() if o.envvar}
    for name, value in list(given.items()):
        if name in variables and value is not None:
            environment[variables[name]] = str(value)
            del given[name]
    return make_conninfo(**given), environment  # type: ignore[arg-type]


def load_schema(conn: Conn, text: str, found: Facts, lacks: Lacks, say: Say) -> None:
    """Make the target's schema in the scratch database; what cannot be made is noted as lacking."""
    lacks.members |= found.members
    make_roles(conn, found.roles)
    elsewhere = 0
    for piece in whole(schema.normalised(text), "pg_dump"):
        try:
            kind = which(postgast.parse(piece.sql).stmts[0].stmt)
        except postgast.PgQueryError:  # of a newer version than the grammar
            kind = ""
        if kind in _ELSEWHERE:
            elsewhere += 1
            continue
        if kind in _SETTINGS:
            try:
                conn.execute(sql.SQL(piece.sql))
            except psycopg.Error:
                continue
            continue
        load(conn, piece, lacks)
    if elsewhere:
        lacks.others.append(
            f"{elsewhere} subscriptions, foreign servers, mappings and tables: a rehearsal reaches no other server"
        )
    conn.execute(sql.SQL("ALTER ROLE CURRENT_USER SET search_path = {}").format(_path(found.search_path)))
    say("schema of the target")


def _path(text: str) -> sql.Composable:
    names = [part.strip().strip('"') for part in text.split(",") if part.strip()]
    return sql.SQL(", ").join(sql.Literal(name) for name in names) if names else sql.Literal("")


def reader(conninfo: str) -> Conn:
    """A connection to the target that cannot write. Raises ConnectionFailed."""
    return connect(conninfo, application_name="pgferry rehearsal", read_only=True, statement_timeout="30s")
