"""Names, SQL and errors full of markup and terminal sequences draw as harmless text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.tui.keys import SCREENS
from tests.canned import a_run_state, a_statement, a_task_preview
from tests.tui.world import CannedWorld, a_shell, settled

EVIL = "[red]x[/] \x1b]52;c;aGk=\x07\x1b[2J\x9b31m\u202e\r\n[@click=app.exit]y[/]"


@pytest.mark.parametrize("keys", [*([str(n + 1)] for n in range(len(SCREENS))), ["u"], ["d"], ["2", "enter"]])
async def test_nothing_escapes(keys: list[str]) -> None:
    state = a_run_state("lock wait")
    state = replace(
        state,
        target=replace(state.target, database=EVIL, host=EVIL),
        operator=EVIL,
        error=EVIL,
        tasks=tuple(replace(task, title=EVIL, note=EVIL, error=EVIL) for task in state.tasks),
        sessions=tuple(replace(item, application=EVIL, query=EVIL) for item in state.sessions),
        statements=tuple(replace(item, sql=EVIL, error=EVIL) for item in state.statements),
        events=tuple(replace(item, text=EVIL, actor=EVIL) for item in state.events),
        progress=a_run_state().progress,
        checks=tuple(
            replace(item, title=EVIL, actual=EVIL, rows=({EVIL: EVIL},)) for item in a_run_state("failed check").checks
        ),
    )
    preview = replace(a_task_preview("P1.1.3"), up=(a_statement(EVIL, blocks=EVIL),), text=EVIL, file=EVIL)
    app = a_shell(CannedWorld(current=state, known={task.id: preview for task in state.tasks}))
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        for key in keys:
            await pilot.press(key)
            await settled(pilot)
        lines = app.lines(120, 40)
        assert len(lines) == 40
        for item in lines:
            assert item.plain.isprintable(), repr(item.plain)
            assert item.cell_len == 120
        assert app.is_running
