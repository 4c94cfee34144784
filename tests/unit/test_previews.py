"""What a task's preview shows where its statements come from the mapping."""

from __future__ import annotations

from console.commands.previews import Previews
from tests.engine.scene import WHOLE, a_plan


def test_a_purge_shows_what_it_drops() -> None:
    statements = [statement.sql for statement in Previews(a_plan(*WHOLE)).of("purge").up]
    assert statements[-1].startswith('DROP TABLE "pgferry_archive"."sales"')
    assert any("DROP TRIGGER" in statement for statement in statements)


def test_every_kind_that_runs_statements_shows_them() -> None:
    previews = Previews(a_plan(*WHOLE))
    assert {task.id for task in WHOLE if previews.of(task.id).up} == {
        "sync", "copy", "compare", "reverse", "again", "retire", "purge",
    }  # fmt: skip
