"""Commands that act on a run: as functions of plain settings; the command line is a thin shell over them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

from console.commands.console_world import ConsoleWorld
from console.commands.paper import PaperWorld
from console.commands.settings import Drawn, Settings
from console.commands.world import JournalWorld, finished
from console.engine.blockers import session_words
from console.engine.lend import lend
from console.engine.runner import EXIT
from console.errors import ConnectionFailed, FerryError, Refused, StepFailed, UsageError
from console.headless.follow import Follower, can_draw
from console.headless.report import report_json, report_markdown, report_text, status_text
from console.headless.rollback_text import rollback_text
from console.headless.run_html import run_html
from console.headless.streams import say
from console.headless.words import duration, safe, to_json
from console.journal.state import OnDetach, RunState, RunStatus, Verb
from console.plan import order
from console.plan import settings as live
from console.plan.load import load_plan
from console.plan.model import Plan
from console.text import several

STEERING = (
    "these lines only show the run, and leaving them does not touch it; pgferry pause, resume, speed, rollback, confirm"
    " and cancel steer it, each with --plan DIR"
)


def the_plan(settings: Settings) -> Plan:
    """The plan named on the command line. Raises PlanError, UsageError without one."""
    if settings.plan_dir is None:
        raise UsageError("Which plan?", do="Name its directory with --plan DIR.")
    return load_plan(settings.plan_dir, settings.layout)


def out(value: object) -> None:
    """Results go to stdout alone; JSON for anything that is not text. A reader that left stops nothing."""
    say(value if isinstance(value, str) else json.dumps(value, indent=2, default=str))


def follow(world: JournalWorld) -> RunState:
    """Show progress on stderr until the run stops; Ctrl-C asks it to pause and goes on watching."""

    def stop(state: RunState) -> bool:
        if died := world.runner_died():
            raise FerryError(
                f"The runner ended unexpectedly: {died}.",
                state="The run stands where the journal says.",
                do="Start it again: it continues there.",
            )
        return finished(state)

    while True:
        try:
            return Follower().follow(world.state, world.wait, stop=stop)
        except KeyboardInterrupt:
            if finished(world.state()):
                raise
            print("pgferry: pausing after the current batch (Ctrl-C again to stop watching)", file=sys.stderr)
            world.send(Verb.PAUSE)


def _ask(world: JournalWorld, verb: Verb, **args: object) -> str:
    receipt = world.send(verb, **args)
    if not receipt.accepted:
        raise Refused(receipt.text)
    return receipt.text


def outcome(state: RunState) -> int:
    """The exit code of a run that stopped. Raises StepFailed with the run's own words."""
    if state.status is RunStatus.FAILED:
        raise StepFailed(state.error or "The run failed.", do="See 'pgferry status', then resume or roll back.")
    return EXIT.get(state.status, 1)


def _refuse_second_operator(state: RunState) -> None:
    """A second apply must not quietly change the goal of a run that somebody else watches."""
    lease = state.lease
    if lease is not None and lease.alive:
        raise Refused(
            f"{lease.holder} already runs this: process {lease.pid} on {lease.host}, since"
            f" {lease.since:%Y-%m-%d %H:%M:%S}, last heard {duration(lease.age_s)} ago.",
            state="Nothing was changed.",
            do="Watch it with 'pgferry attach', pause it, or wait until it stops.",
        )


def _with_world(settings: Settings, plan: Plan | None, work: Callable[[JournalWorld], int], *, control: bool) -> int:
    world = JournalWorld(settings, plan, control=control)
    try:
        return work(world)
    finally:
        world.close()


def apply(settings: Settings, until: str, output: str) -> int:
    """Run forward without a screen; returns when the goal is reached or the run stops."""

    plan = the_plan(settings)
    order.until(plan, until)  # an unknown goal is told before anything is written

    def work(world: JournalWorld) -> int:
        _refuse_second_operator(world.state())
        for line in world.standing():
            print(f"pgferry: {safe(line)}", file=sys.stderr)
        _ask(world, Verb.START, until=until)
        state = follow(world)
        out(report_json(state) if output == "json" else report_text(state))
        code = outcome(state)
        return 0 if code == 6 and state.status is RunStatus.WAITING and until != "end" and not state.error else code

    return _with_world(settings, plan, work, control=True)


def rollback(settings: Settings, to: str, typed: str, output: str, *, show: bool) -> int:
    """Show what going back would do (``show``), or do it and wait for its end."""

    plan = the_plan(settings)
    order.rollback_order(plan, to)  # an unknown target is told before anything is written

    def work(world: JournalWorld) -> int:
        preview = world.rollback_preview(to)
        if show:
            out(to_json(preview) if output == "json" else rollback_text(preview))
            return 0
        print(rollback_text(preview, statements=False), file=sys.stderr)
        _ask(world, Verb.ROLLBACK, to=to, typed=typed)
        state = follow(world)
        out(report_json(state) if output == "json" else status_text(state))
        if state.status is RunStatus.WAITING and not state.error:
            return 0
        return outcome(state)

    return _with_world(settings, plan, work, control=not show)


def command(settings: Settings, verb: Verb, **args: object) -> int:
    """Send one command and print the answer."""

    def work(world: JournalWorld) -> int:
        out(_ask(world, verb, **args))
        return 0

    return _with_world(settings, the_plan(settings), work, control=True)


def speed(settings: Settings, words: list[str]) -> int:
    """Change settings of the copy, each ``name=value``. Raises UsageError for one that cannot be."""
    values: dict[str, object] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"{word} is not NAME=VALUE.", do=f"Known names: {', '.join(sorted(live.KEYS))}.")
        try:
            values[name] = live.checked(name, value)
        except ValueError as error:
            raise UsageError(str(error), do=f"Known names: {', '.join(sorted(live.KEYS))}.") from None
    return command(settings, Verb.SPEED, **values)


def work(settings: Settings, workers: int) -> int:
    """Lend workers to a running copy until it ends."""
    plan = the_plan(settings)
    batches, rows = lend(
        settings.dsn, plan, settings.operator, workers=workers,
        say=lambda text: print(f"pgferry: {safe(text)}", file=sys.stderr),
    )  # fmt: skip
    out(f"{several(batches, 'batch', 'batches')}, {several(rows, 'row')} copied from here")
    return 0


def cancel(settings: Settings, pid: int, *, terminate: bool, yes: bool) -> int:
    """Cancel the statement of a session the runner sees in the way, or its own; or end that session.

    It is named first, and asked for on a terminal; elsewhere ``yes`` is needed.
    """

    def work(world: JournalWorld) -> int:
        state = world.state()
        found = [session for session in (*state.sessions, *state.around) if session.pid == pid]
        if not found:
            raise Refused(
                f"No session {pid} is known to be in the way of the run.",
                state="Nothing was done.",
                do="See 'pgferry status'.",
            )
        session = found[0]
        print(safe(f"{session.role}: {session_words(session)}, user {session.user}"), file=sys.stderr)
        what = "end this session" if terminate else "cancel its statement"
        if not yes and not (sys.stdin.isatty() and input(f"Type {pid} to {what}: ").strip() == str(pid)):
            raise Refused(
                "It was not confirmed.", state="Nothing was done.", do="Type the pid when asked, or say --yes."
            )
        out(_ask(world, Verb.TERMINATE if terminate else Verb.CANCEL, pid=pid, mark=session.mark))
        return 0

    return _with_world(settings, the_plan(settings), work, control=True)


def resume(settings: Settings, *, take_over: bool) -> int:
    """Go on; with ``take_over`` also where a runner holds the run, which then writes nothing more."""

    def work(world: JournalWorld) -> int:
        if not take_over:
            out(_ask(world, Verb.RESUME))
            return 0
        before = world.state().lease
        receipt = world.take_over()
        if not receipt.accepted:
            raise Refused(receipt.text)
        whose = f", taken over from {before.holder}, process {before.pid} on {before.host}" if before else ""
        out(receipt.text + whose)
        return 0

    return _with_world(settings, the_plan(settings), work, control=True)


def report(settings: Settings, output: str) -> int:
    """Print the whole report of the newest run, or (jsonl) all of it as a recording that ``pgferry replay`` plays."""
    if output == "jsonl":
        from console.commands.replay import recorded
        from console.journal.recording_file import to_lines

        for line in to_lines(recorded(settings, None)):
            print(line)
        return 0
    plan = load_plan(settings.plan_dir, settings.layout) if settings.plan_dir else None

    def work(world: JournalWorld) -> int:
        state = world.report_state()
        if output == "json":
            out(report_json(state))
        elif output == "html":
            out(run_html(state, world.recording(state.run_id)))
        else:
            out(report_markdown(state) if output == "markdown" else report_text(state))
        return 0

    return _with_world(settings, plan, work, control=False)


def _answering(world: JournalWorld) -> JournalWorld:
    """The world, seen to answer: a missing server or run is told in one sentence, before any screen opens."""
    try:
        world.state()
    except BaseException:
        world.close()
        raise
    return world


def _detach(word: str | None) -> OnDetach | None:
    """The choice as it is typed; None leaves it as it is."""
    return None if word is None else OnDetach.PAUSE if word == "pause" else OnDetach.GO_ON


def run_screen(
    settings: Settings,
    *,
    dry_run: bool,
    offline: bool,
    control: bool,
    on_detach: str | None,
    drawn: Drawn,
) -> int:
    """Open the console on a plan; a dry run writes nothing, and the server sees to it."""
    from console.tui.app import run_console

    if dry_run and on_detach is not None:
        raise UsageError("--on-detach is for a console with control; a dry run has none.")
    plan = the_plan(settings)
    world: JournalWorld | PaperWorld
    if offline:
        world = PaperWorld(plan, settings.operator)
    else:
        made = (
            JournalWorld(settings, plan, control=False, reviewing=True)
            if dry_run
            else ConsoleWorld(settings, plan, asked=control, on_detach=_detach(on_detach))
        )
        world = _answering(made)
    return run_console(world, dry_run=dry_run, ascii_only=drawn.ascii_only, theme=drawn.theme, mouse=drawn.mouse)


def attach_screen(
    settings: Settings,
    run_id: int | None,
    *,
    control: bool,
    on_detach: str | None = None,
    drawn: Drawn,
    plain: bool = False,
) -> int:
    """Open the console on a run that goes on already; read-only unless control is asked for.

    As lines where ``plain`` asks for them or no screen can be drawn (no terminal, TERM=dumb).
    """
    plan = load_plan(settings.plan_dir, settings.layout) if settings.plan_dir else None
    if on_detach is not None and not control:
        raise UsageError("--on-detach is for a console with control.", do="Add --control and --plan DIR.")
    if control and plan is None:
        raise UsageError("Control needs the plan's files.", do="Name them with --plan DIR.")
    plain = plain or not can_draw(os.environ)
    if control and plain:
        raise UsageError(
            "Lines only show a run.",
            do="Steer it with pgferry pause, resume, speed, rollback, confirm; or use a terminal.",
        )
    world = _answering(
        ConsoleWorld(settings, plan, may=control, asked=control, run_id=run_id, on_detach=_detach(on_detach))
    )
    if plain:
        return _watch_lines(world, ascii_only=drawn.ascii_only)
    from console.tui.app import run_console

    return run_console(world, ascii_only=drawn.ascii_only, theme=drawn.theme, mouse=drawn.mouse)


def _patient(world: JournalWorld) -> Callable[[], RunState]:
    """Looks at the run; a server that is away for a while is told once, and that it is back."""
    last = world.state()
    away = False

    def look() -> RunState:
        nonlocal last, away
        try:
            last = world.state()
        except ConnectionFailed as error:
            if error.final:
                raise
            if not away:
                print(f"pgferry: {safe(error.what)} It is tried again until it answers.", file=sys.stderr)
            away = True
            return last
        if away:
            print("pgferry: the server answers again", file=sys.stderr)
        away = False
        return last

    return look


def _watch_lines(world: JournalWorld, *, ascii_only: bool | None) -> int:
    """The run as lines on stdout until it stops; the exit code says how. Leaving does not touch it."""
    try:
        print(f"pgferry: {STEERING}", file=sys.stderr)
        state = Follower(sys.stdout, lines=True, ascii_only=ascii_only).follow(
            _patient(world), world.wait, stop=finished
        )
        return outcome(state)
    finally:
        world.close()


def run_checks(settings: Settings, phase: str, output: str) -> int:
    """Run the plan's checks now, outside any task; exit code 1 if an error check failed."""
    from console.engine.checks import run_check
    from console.engine.ledgers.standing import standing
    from console.engine.visit import visit

    plan = the_plan(settings)
    chosen = [check for check in plan.checks if not phase or check.phase == phase]
    if not chosen:
        known = ", ".join(sorted({check.phase for check in plan.checks if check.phase}))
        raise UsageError(
            f"The plan has no checks of phase {phase}." if phase else "The plan has no checks.",
            do=f"Phases with checks: {known}." if known else "",
        )
    session = visit(plan, settings.dsn, settings.operator)
    if plan.layout:  # what a migration left can be looked at once it is applied
        applied = standing(session.conn, plan).applied
        guarded = {id_ for task in plan.tasks if task.id in applied for id_ in task.guards}
        chosen = [check for check in chosen if check.id in guarded]
    results = [result for check in chosen for result in run_check(session, check)]
    session.drop()
    if output == "json":
        out(to_json(results))
    else:
        for r in sorted(results, key=lambda r: r.ok):
            word = "ok  " if r.ok else "FAIL" if r.severity == "error" else "warn"
            out(safe(f"{word}  {r.check_id:40} {r.title}: {r.actual} (expected {r.expected})"))
    return int(any(not r.ok and r.severity == "error" for r in results))
