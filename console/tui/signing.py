"""The reviewer's key: approve exactly the plan that is shown, or take that back. Asked first, and sent from here only."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from console.tui import questions
from console.tui.messages import Outcome

if TYPE_CHECKING:
    from console.tui.shell import Shell

Say = Callable[[str, str], None]


def approve(shell: Shell, say: Say) -> None:
    """Ask for a comment and record the approval; a reviewer who approved it already is asked whether to withdraw it."""
    facts, reviewer = shell.facts, shell.world.reviewer
    if not facts.dry_run or facts.plan is None:
        say("Approving is for reviewers: pgferry run --dry-run, or pgferry approve.", "warn")
        return
    stands = facts.state.approval if facts.state else None
    mine = [one for one in stands.counted if one.name.casefold() == reviewer.casefold()] if stands else []
    if mine:
        shell.ask(questions.withdraw(facts.plan, mine[0], lambda: _record(shell, say, "", withdraw=True)))
    else:
        shell.ask(questions.approve(facts.plan, reviewer, lambda comment: _record(shell, say, comment)))


def _record(shell: Shell, say: Say, comment: str, *, withdraw: bool = False) -> None:
    def then(outcome: Outcome) -> None:
        done = f"{'withdrawn' if withdraw else 'approved'}, {outcome.value}"
        say(*((outcome.error, "bad") if outcome.error else (done, "ok")))

    shell.commands.ask(lambda: shell.world.approve(comment, withdraw=withdraw), then)
