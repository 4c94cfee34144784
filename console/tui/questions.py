"""What the console asks before it acts: every command with consequences goes through one of these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from console.journal.state import OnDetach, RollbackPreview, RunState, RunStatus, Session, TaskState, TaskStatus
from console.plan.approval import Approval
from console.plan.model import Plan
from console.text import plain, several, shorten
from console.tui.draw import numbers
from console.tui.draw.lost import lost_words
from console.tui.draw.rollback import total_time
from console.tui.facts import Facts, is_active, runner_frozen

Act = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Option:
    """An answer: its key, its words, what it does."""

    key: str
    label: str
    act: Act


@dataclass(frozen=True, slots=True)
class Question:
    """A question over the lower part of the screen. ``esc`` always closes it and does nothing.

    With ``typed`` the operator types exactly that text, and ``act`` is done; with ``said`` any text, which it gets; else
    one of the options is chosen.
    """

    title: str
    words: tuple[str, ...]
    options: tuple[Option, ...] = ()
    typed: str = ""
    act: Act | None = None
    said: Callable[[str], None] | None = None


NO = ("esc", "no, leave everything as it is")


def _nothing() -> None:
    return None


def take_control(facts: Facts, act: Act) -> Question:
    """Take control of the run; names the place, and who has it now."""
    state = facts.state
    where = f"{state.target.environment}, database {state.target.database}" if state else "this database"
    run = f"run {state.run_id}" if state and state.run_id else "the run that you start"
    return Question(
        f"Take control of {run}?",
        (f"{where}. Keys of this console then change it.", plain(facts.offer)),
        (Option("y", "yes, this console commands from now on", act), Option(NO[0], NO[1], _nothing)),
    )


def lost_runner(state: RunState, act: Act) -> Question:
    """The runner is gone, or does not answer: another one carries the run on, in its place if need be."""
    lost = lost_words(state)
    if runner_frozen(state):
        title, yes = (
            "Take the run over from the runner that does not answer?",
            "yes, take it over with a runner of ours",
        )
        then = "Its session still holds the run and is ended first: should it wake up, it can write nothing more."
    else:
        title, yes = "Start another runner?", "yes, start one here"
        then = ""
    goal = "goes on rolling back" if state.status is RunStatus.ROLLING_BACK else f"goes on until {state.until}"
    return Question(
        title,
        (*lost.facts, *([then] if then else []), f"{state.target.environment}: the run {goal}."),
        (Option("y", yes, act), Option(NO[0], NO[1], _nothing)),
    )


def start(facts: Facts, task: TaskState, send: Callable[[str], None], ask: Callable[[Question], None]) -> Question:
    """How far to go: this task, this phase, the end. ``send`` gets the chosen point.

    Where a step on the way there has no way back, ``ask`` gets one more question first. A purge asks for itself.
    """
    state = facts.state
    tasks = state.tasks if state else ()
    where = f"{state.target.environment}, database {state.target.database}" if state else ""
    phase = f"phase {task.phase_id}" + (f", {task.phase_title}" if task.phase_title != task.phase_id else "")
    left = [item for item in tasks if item.status not in (TaskStatus.COMPLETED, TaskStatus.BEFORE)]
    final = [item.id for item in left if item.irreversible]
    asks = "; asks for the database's name first" if final else ""
    words = [f"{_listed(final)}: no way back{asks}."] if final else []
    words.append(f"{where}: goes on from where the run stands, and stops after")

    def to(until: str, last: Callable[[TaskState], bool]) -> Act:
        reached = max((place for place, item in enumerate(tasks) if last(item)), default=-1)
        on_the_way = [item for item in tasks[: reached + 1] if item in left and item.irreversible]
        walls = [item for item in on_the_way if item.kind != "purge"]
        if state is None or not walls:
            return lambda: send(until)
        return lambda: ask(no_way_back(state, walls, lambda: send(until)))

    return Question(
        "Start: how far?",
        tuple(words),
        (
            Option("1", f"task {task.id}, {task.title}", to(task.id, lambda item: item.id == task.id)),
            Option("2", phase, to(task.phase_id, lambda item: item.phase_id == task.phase_id)),
            Option("3", "the end of the plan", to("end", lambda item: True)),
            Option(NO[0], NO[1], _nothing),
        ),
    )


def _listed(ids: list[str]) -> str:
    return ", ".join(ids[:5]) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")


def no_way_back(state: RunState, walls: list[TaskState], act: Act) -> Question:
    """Going on passes steps that cannot be taken back: the database's name is typed for them."""
    name = state.target.database
    words = (
        f"There is NO WAY BACK from {_listed([item.id for item in walls])}: {walls[0].irreversible}",
        f"{state.target.environment}, host {state.target.host}. To go there, type the database's name: {name}",
    )
    return Question("Start, past a step with no way back?", words, typed=name, act=act)


def approve(plan: Plan, reviewer: str, yes: Callable[[str], None]) -> Question:
    """A reviewer puts their name to exactly these files."""
    return Question(
        f"Approve {plan.title} ({plan.id})?",
        (
            f"You, {reviewer}, approve these {len(plan.files)} files and no others, as this console read them:",
            plan.sha256,
        ),
        said=yes,
    )


def withdraw(plan: Plan, approval: Approval, yes: Act) -> Question:
    """A reviewer takes an approval back."""
    words = (
        f"You, {approval.name}, approved it at {approval.at:%Y-%m-%d %H:%M}: {plan.sha256}",
        "Without it the plan may not be started; what was begun with it goes on.",
    )
    return Question(
        f"Take back your approval of {plan.title} ({plan.id})?",
        words,
        (Option("y", "yes, withdraw it", yes), Option(NO[0], NO[1], _nothing)),
    )


def gate(task: TaskState, question: str, yes: Act) -> Question:
    """A person answers for something outside the database."""
    return Question(
        f"{task.id}  {task.title}",
        (question or "This step waits for a person.", "Your answer is kept in the log with your name."),
        (Option("y", "yes, that is so: go on", yes), Option(NO[0], "not yet", _nothing)),
    )


def final(state: RunState, task: TaskState, yes: Act) -> Question:
    """A step with no way back: the database's name has to be typed."""
    name = state.target.database
    words = (
        f"There is NO WAY BACK from this step: {task.irreversible}",
        f"{state.target.environment}, host {state.target.host}. To do it, type the database's name: {name}",
    )
    return Question(f"{task.id}  {task.title}", words, typed=name, act=yes)


def roll_back(facts: Facts, preview: RollbackPreview, meaning: str, yes: Act) -> Question:
    """The last question before a rollback; where something is lost, the text has to be typed."""
    title = f"Roll back to {meaning}"
    steps = f"{several(len(preview.steps), 'step')}, {total_time(preview)}."
    if preview.needs_typing:
        lost = f"LOST: {'; '.join(preview.loses)}." if preview.loses else "Something is lost."
        return Question(
            title, (lost, f"{steps} To do it, type: {preview.needs_typing}"), typed=preview.needs_typing, act=yes
        )
    return Question(
        title,
        (f"{steps} Nothing is lost.",),
        (Option("enter", "roll back now", yes), Option(NO[0], NO[1], _nothing)),
    )


def _about(session: Session) -> tuple[str, ...]:
    who = f"pid {session.pid}, {session.application} as {session.user or '(no user)'}"
    since = f"{session.state or session.role}, open for {numbers.age(session.age_s)}"
    return (f"{session.role}: {who}; {since}", shorten(plain(session.query), 140))


def cancel(session: Session, yes: Act) -> Question:
    """Another session's statement, seen in the way, is to be cancelled."""
    words = (*_about(session), "Its application gets an error (57014); the session and its transaction stay open.")
    return Question(
        f"Cancel the statement of session {session.pid}?",
        words,
        (Option("y", f"yes, cancel what {session.pid} does now", yes), Option(NO[0], NO[1], _nothing)),
    )


def cancel_ours(session: Session, yes: Act) -> Question:
    """The run's own statement is to be cancelled."""
    words = (*_about(session), "The task stops, its state known; space runs the statement again.")
    return Question(
        "Cancel our own statement?",
        words,
        (Option("y", "yes, cancel it: the run stops here", yes), Option(NO[0], NO[1], _nothing)),
    )


def end(session: Session, yes: Act) -> Question:
    """A session that is in the way is to be ended: its pid has to be typed."""
    words = (
        *_about(session),
        f"Its transaction is rolled back and its application loses the connection. To do it, type its pid: {session.pid}",
    )
    return Question(f"End session {session.pid}?", words, typed=str(session.pid), act=yes)


def detach(facts: Facts, choose: Callable[[OnDetach], None]) -> Question:
    """What becomes of the run when the console in control goes."""
    pauses = facts.on_detach is OnDetach.PAUSE
    return Question(
        "When this console goes, by q, a closed window or a dropped line:",
        (
            f"Now the run {'pauses' if pauses else 'goes on'}. The choice stays with control, whoever takes it, and is logged.",
        ),
        (
            Option("1", "the run pauses after its batch or statement", lambda: choose(OnDetach.PAUSE)),
            Option("2", "the run goes on without it", lambda: choose(OnDetach.GO_ON)),
            Option(NO[0], NO[1], _nothing),
        ),
    )


def leave(facts: Facts, yes: Act, first: Callable[[OnDetach], None]) -> Question:
    """Leaving. ``first`` makes another choice of what becomes of the run, and then leaves."""
    state = facts.state
    if not facts.stays:
        run = f"Run {state.run_id} pauses, and then its" if state and is_active(state) else "Its"
        words = (f"The demo ends. {run} server goes: its rows too, unless it was begun with --keep.",)
        return Question("Leave?", words, (Option("q", "leave", yes), Option(NO[0], "stay", _nothing)))
    if state is None or not is_active(state) or not facts.can_control:
        run = f"Run {state.run_id} goes on without this console" if state and is_active(state) else "Nothing runs"
        words = (f"{run}; pgferry attach comes back to it.",)
        return Question("Leave?", words, (Option("q", "leave", yes), Option(NO[0], "stay", _nothing)))
    if facts.on_detach is OnDetach.PAUSE:
        run, other = (
            "pauses after its batch or statement",
            Option("2", "leave, and it goes on", lambda: first(OnDetach.GO_ON)),
        )
    else:
        run, other = "goes on without this console", Option("2", "leave, and it pauses", lambda: first(OnDetach.PAUSE))
    words = (f"Run {state.run_id} {run}; pgferry attach comes back to it.",)
    return Question("Leave?", words, (Option("q", "leave", yes), other, Option(NO[0], "stay", _nothing)))
