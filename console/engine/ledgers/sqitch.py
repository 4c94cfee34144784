"""Sqitch's registry: a row for each deployed change, with its tags and needs, and an event for each thing that was done."""

from __future__ import annotations

from collections import Counter

from console.engine.ledgers.base import Found, origin_of, rows, run, strangers
from console.journal.connect import Conn
from console.plan.model import Plan, RegistryEntry, RegistryLine, TableName, Task

_COMMITTER = "current_user, current_user || '@' || coalesce(host(inet_client_addr()), 'localhost')"
_TAKEN_BACK = "DELETE FROM {} WHERE change_id = %s"


class Sqitch:
    """``changes`` in the registry's schema, and the tables beside it."""

    names = ("changes",)
    columns = ("change_id", "script_hash", "change", "project", "committed_at", "planner_email")
    without: tuple[str, ...] = ()

    def read(self, conn: Conn, table: TableName, plan: Plan) -> Found:
        """A reworked change stands in the registry once for each time it was deployed, the oldest first."""
        found = rows(
            conn, "SELECT change, change_id FROM {} WHERE project = %s ORDER BY committed_at", table, (plan.project,)
        )
        left = Counter(row[0] for row in found)
        ids = {row[1] for row in found}
        applied, changed = {}, []
        for task in plan.tasks:
            origin = origin_of(task)
            if left[origin.name] > 0:
                left[origin.name] -= 1
                applied[task.id] = "deployed by Sqitch"
                if origin.version not in ids:
                    changed.append(task.id)
        words = strangers(table, sorted(left.elements()))
        if changed:
            words.append(f"The plan's lines are no longer those that were deployed: {', '.join(changed)}.")
        return Found(applied, words)

    def record(self, conn: Conn, table: TableName, plan: Plan, task: Task, ms: int) -> bool:
        """The rows that Sqitch writes when it deploys the change."""
        run(conn, "LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", table)
        entry, origin = _entry(task), origin_of(task)
        line = entry.line
        if rows(conn, "SELECT 1 FROM {} WHERE change_id = %s", table, (line.id,)):
            return False
        query = f"INSERT INTO {{}} (project, uri, creator_name, creator_email) SELECT %s, %s, {_COMMITTER} ON CONFLICT DO NOTHING"
        run(conn, query, _beside(table, "projects"), (plan.project, entry.uri or None))
        query = (
            "INSERT INTO {} (change_id, script_hash, change, project, note, committer_name, committer_email, planned_at,"
            f" planner_name, planner_email) SELECT %s, %s, %s, %s, %s, {_COMMITTER}, %s::timestamptz, %s, %s"
        )
        run(conn, query, table, (line.id, origin.checksum, line.name, plan.project, line.note, *_planned(line)))
        self._needs(conn, table, entry)
        for tag in entry.tags:
            query = (
                "INSERT INTO {} (tag_id, tag, project, change_id, note, committer_name, committer_email, planned_at,"
                f" planner_name, planner_email) SELECT %s, %s, %s, %s, %s, {_COMMITTER}, %s::timestamptz, %s, %s"
            )
            values = (tag.id, tag.name, plan.project, line.id, tag.note, *_planned(tag))
            run(conn, query, _beside(table, "tags"), values)
        self._event(conn, table, plan, entry, "deploy")
        return True

    def forget(self, conn: Conn, table: TableName, plan: Plan, task: Task, ms: int) -> None:
        """The rows go, and an event says so; by name where the plan's line was changed since it was deployed."""
        run(conn, "LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", table)
        entry = _entry(task)
        found = rows(
            conn,
            "SELECT change_id FROM {} WHERE project = %s AND change = %s ORDER BY change_id = %s DESC, committed_at DESC",
            table,
            (plan.project, entry.line.name, entry.line.id),
        )
        if not found:
            return
        for name in ("tags", "dependencies", table.name):
            run(conn, _TAKEN_BACK, _beside(table, name), (found[0][0],))
        self._event(conn, table, plan, entry, "revert")

    def _needs(self, conn: Conn, table: TableName, entry: RegistryEntry) -> None:
        query = "INSERT INTO {} (change_id, type, dependency, dependency_id) VALUES (%s, %s, %s, %s)"
        for text, change_id, elsewhere in entry.needs:
            if elsewhere is not None:
                other = "SELECT change_id FROM {} WHERE project = %s AND change = %s ORDER BY committed_at DESC LIMIT 1"
                known = rows(conn, other, table, elsewhere)
            else:
                known = rows(conn, "SELECT change_id FROM {} WHERE change_id = %s", table, (change_id,))
            if known:
                run(conn, query, _beside(table, "dependencies"), (entry.line.id, "require", text, known[0][0]))
        for text in entry.conflicts:
            run(conn, query, _beside(table, "dependencies"), (entry.line.id, "conflict", text, None))

    def _event(self, conn: Conn, table: TableName, plan: Plan, entry: RegistryEntry, event: str) -> None:
        line = entry.line
        query = (
            "INSERT INTO {} (event, change_id, change, project, note, tags, requires, conflicts, committer_name,"
            " committer_email, planned_at, planner_name, planner_email)"
            f" SELECT %s, %s, %s, %s, %s, %s::text[], %s::text[], %s::text[], {_COMMITTER}, %s::timestamptz, %s, %s"
        )
        lists = ([tag.name for tag in entry.tags], [text for text, _, _ in entry.needs], list(entry.conflicts))
        values = (event, line.id, line.name, plan.project, line.note, *lists, *_planned(line))
        run(conn, query, _beside(table, "events"), values)


def _entry(task: Task) -> RegistryEntry:
    entry = origin_of(task).registry
    assert entry is not None
    return entry


def _planned(line: RegistryLine) -> tuple[str, str, str]:
    return line.planned_at, line.planner_name, line.planner_email


def _beside(table: TableName, name: str) -> TableName:
    return TableName(table.schema, name)
