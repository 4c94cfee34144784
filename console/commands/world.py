"""The world behind the screens: the journal of a database, a plan on disk, and a runner started when needed."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

import psycopg

from console.commands import migrations
from console.commands.approving import put_name, refuse_unapproved, shown
from console.commands.plan_record import Record
from console.commands.previews import Previews
from console.commands.rollback_look import Looker
from console.commands.rollbacks import Reader, on_paper
from console.commands.settings import Settings, state_folder
from console.commands.shown import Shown
from console.commands.spawn import log_file, start_runner
from console.commands.status import no_run
from console.engine.ledgers.standing import standing
from console.engine.session import RECONNECT_SECONDS
from console.errors import ConnectionFailed, FerryError, PlanError, Refused, UsageError
from console.headless.report import report_json, report_markdown
from console.headless.run_html import run_html
from console.journal import admission, commands, events, lease, read, runs, schema, steps, traffic
from console.journal.connect import Conn, connect
from console.journal.look import Look
from console.journal.recorded import record
from console.journal.recording import Recording
from console.journal.recording_file import to_lines
from console.journal.settle import READER_TIMEOUT
from console.journal.state import RollbackPreview, RunState, RunStatus, Verb
from console.plan.approval import Standing
from console.plan.model import Doc, Plan
from console.sql.model import TaskPreview
from console.tui.ports import Receipt

T = TypeVar("T")
ANSWER_SECONDS = 20.0
DEMO_PATIENCE_SECONDS = 5.0  # the demo's server goes with the demo: its runner must not wait for it
HIDDEN_RUN = "The journal of this database cannot be read by this role: whether a run was begun is not known."
STARTS = 3  # runners that may end without an answer to a command before it is withdrawn


class JournalWorld(Shown):
    """One database, one plan, the newest run of it (or the one with ``run_id``). Safe to call from several threads."""

    player = None

    def __init__(
        self,
        settings: Settings,
        plan: Plan | None,
        *,
        control: bool = True,
        run_id: int | None = None,
        reviewing: bool = False,
    ) -> None:
        """``reviewing``: the plan is to be read, whether or not the journal may be."""
        self._settings = settings
        self._plan = plan
        self._control = control and plan is not None
        self._run_id = run_id
        self._reviewing = reviewing
        self._tally = traffic.Tally()
        self._reading = Look(seldom=False)
        self._conn: Conn | None = None
        self._listener: Conn | None = None
        self._lock = threading.RLock()
        self._previews: Previews | None = None
        self._runner: subprocess.Popen[str] | None = None
        self._log_from = 0
        self._looker = Looker(settings.dsn, state_folder())

    @property
    def plan(self) -> Plan | None:
        """The plan on disk, None when only the journal is known."""
        return self._plan

    @property
    def can_control(self) -> bool:
        """Whether commands may be sent."""
        return self._control

    @property
    def offer(self) -> str:
        """Nothing to take: this world's commands ask nobody."""
        return ""

    def _use(self, work: Callable[[Conn], T]) -> T:
        """Run ``work`` on the one connection, opened anew when it was lost."""
        with self._lock:
            if self._conn is None or self._conn.closed:
                self._conn = connect(
                    self._settings.dsn,
                    application_name="pgferry console",
                    read_only=not self._control,
                    statement_timeout=READER_TIMEOUT,
                )
                self._previews = None
            try:
                return work(self._conn)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                if not (self._conn.closed or self._conn.broken):
                    raise ConnectionFailed(f"The server refused: {str(error).splitlines()[0]}.") from None
                self._conn.close()
                raise ConnectionFailed(
                    "The connection to the server was lost.", state="The run goes on by itself."
                ) from None
            except psycopg.errors.InsufficientPrivilege as error:
                raise ConnectionFailed(
                    f"This role may not do that: {str(error).splitlines()[0]}.", state="Nothing was changed."
                ) from None
            except psycopg.errors.ReadOnlySqlTransaction:
                raise Refused("This console is read-only: the server refuses every write.") from None
            except psycopg.Error as error:
                raise FerryError(f"The server answered with an error: {str(error).splitlines()[0]}.") from None

    def _find_run(self, conn: Conn) -> int | None:
        if self._run_id is None and schema.installed(conn) and not self._hidden(conn):
            row = runs.latest(conn, self._plan.id if self._plan else None)
            if row is not None and not (self._plan is not None and migrations.outgrown(conn, self._plan, row)):
                self._run_id = row.id
        return self._run_id

    def _hidden(self, conn: Conn) -> bool:
        """Whether there is a journal that a reviewer's role may not read: the plan can be read all the same."""
        return self._reviewing and schema.installed(conn) and not schema.readable(conn)

    def state(self) -> RunState:
        """The state of the run now; before the first start, every task pending."""
        return self._use(lambda conn: self._reading.read(conn, self._state))

    def _state(self, conn: Conn) -> RunState:
        run_id = self._find_run(conn)
        environment = self._settings.environment
        if run_id is None:
            if self._plan is None:
                raise no_run()
            state = read.fresh_state(
                conn, self._plan, environment=environment, operator=self._settings.operator,
                before=standing(conn, self._plan).applied,
            )  # fmt: skip
            hidden = self._hidden(conn)
            return replace(state, approval=self._stands(conn, None), error=HIDDEN_RUN if hidden else "")
        try:
            state = read.run_state(conn, run_id, environment=environment, tally=self._tally)
        except KeyError:
            raise UsageError(f"There is no run {run_id} in this database.") from None
        return replace(state, approval=self._stands(conn, state))

    def _stands(self, conn: Conn, state: RunState | None) -> Standing | None:
        return shown(conn, self._settings, self._plan, state, control=self._control)

    @property
    def reviewer(self) -> str:
        """Who would approve the plan from here."""
        return self._settings.operator

    def approve(self, comment: str, *, withdraw: bool = False) -> str:
        """Record that the reviewer approves the plan as it was read, or takes that back; returns where."""
        return put_name(self._settings, self._plan, comment, withdraw=withdraw, offline=False)

    def standing(self) -> tuple[str, ...]:
        """What is applied of a directory of migrations, in sentences; none for a plan.toml."""
        plan = self._plan
        return () if plan is None else self._use(lambda conn: migrations.words(conn, plan))

    def audited(self) -> RunState:
        """The state of the run with its chain of events looked at: too dear for every glance."""
        return self._use(self._audited)

    def _audited(self, conn: Conn) -> RunState:
        state = self._state(conn)
        return replace(state, audit=events.audit(conn, state.run_id)) if state.run_id else state

    def wait(self, seconds: float) -> None:
        """Returns when the journal changed, or after this long; a lost connection only makes it wait."""
        try:
            if self._listener is None or self._listener.closed:
                self._listener = connect(
                    self._settings.dsn,
                    application_name="pgferry console",
                    read_only=True,
                    statement_timeout=READER_TIMEOUT,
                )
                self._listener.execute(f"LISTEN {events.CHANNEL}")
            for _ in self._listener.notifies(timeout=seconds, stop_after=1):
                pass
        except (FerryError, psycopg.Error):
            self._listener = None
            time.sleep(seconds)

    def preview(self, task_id: str) -> TaskPreview:
        """What the task would run."""
        if self._plan is None:
            raise PlanError(
                "The plan's files are not here: only the journal is known.", do="Name them with --plan DIR."
            )
        plan = self._plan

        def make(conn: Conn) -> TaskPreview:
            # not through the attribute alone: ``reread`` may empty it meanwhile
            found = self._previews or Previews(plan, conn, record=Record.of(plan, state_folder()))
            self._previews = found
            return found.of(task_id)

        return self._use(make)

    def reread(self) -> None:
        """Sizes and locks of the next preview are read anew."""
        self._previews = None

    def docs(self) -> tuple[Doc, ...]:
        """The plan's pages."""
        return self._plan.docs if self._plan else ()

    def rollback_preview(self, to: str) -> RollbackPreview:
        """What rolling back to just before task ``to`` (or ``start``) would do, looked at on a connection of its own.

        Raises Cancelled where ``forget_rollback`` ended the look.
        """
        if self._plan is None:
            raise PlanError(
                "The plan's files are not here: only the journal is known.", do="Name them with --plan DIR."
            )
        run_id = self._use(self._find_run)
        if run_id is None and self._reviewing:
            return on_paper(self._plan, to, Reader(self._plan, None, state_folder()))
        return self._looker.look(self._plan, to, run_id)

    def forget_rollback(self) -> None:
        """Nobody waits for the preview of a rollback any more; returns at once."""
        self._looker.cancel()

    def take_control(self) -> Receipt:
        """Refused: this world's commands ask nobody."""
        raise Refused("This console only reads.")

    def send(self, verb: Verb, **args: object) -> Receipt:
        """Send a command to the runner, starting one if none runs, and wait for its answer."""
        if not self._control or self._plan is None:
            raise Refused("This console is read-only.", do="Start it with control: pgferry run --plan DIR.")
        if self.runner_died():
            self._runner = None
        command = self._use(lambda conn: self._write(conn, verb, args))
        return self._answer(command)

    def take_over(self) -> Receipt:
        """Go on with a runner of our own in the place of one that does not answer; the other writes nothing more."""
        if not self._control or self._plan is None:
            raise Refused("This console is read-only.", do="Start it with control: pgferry run --plan DIR.")
        command = self._use(lambda conn: self._write(conn, Verb.RESUME, {}))
        self._use(lambda _: self._start_runner(takeover=True))
        return self._answer(command, starts=1)

    def _answer(self, command: int, starts: int = 0) -> Receipt:
        deadline = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < deadline:
            outcome = self._use(lambda conn: commands.outcome(conn, command))
            if outcome is not None:
                return Receipt(*outcome)
            if starts and self._ended() and (self.runner_died() or starts == STARTS or self._use(self._frozen)):
                return self._withdraw(command, self._last_words())
            before = self._runner
            self._use(self._ensure_runner)
            starts += self._runner is not before
            time.sleep(0.1)
        return Receipt(True, "sent; no answer yet")

    def _frozen(self, conn: Conn) -> bool:
        """Whether a runner that does not answer holds the run: no other one can answer either."""
        held = lease.read(conn, self._run_id) if self._run_id is not None else None
        return held is not None and held.held and not held.alive

    def _withdraw(self, command: int, died: str) -> Receipt:
        """Answer a command in the place of a runner that could not start, so that no later one carries it out."""

        def refuse(conn: Conn) -> Receipt:
            outcome = commands.outcome(conn, command)
            if outcome is None:
                commands.answer(conn, command, accepted=False, text=died)
                outcome = False, died
            return Receipt(*outcome)

        return self._use(refuse)

    def _write(self, conn: Conn, verb: Verb, args: dict[str, object]) -> int:
        assert self._plan is not None
        run_id = self._find_run(conn)
        if verb is Verb.START:
            migrations.refuse_unknown_start(conn, self._plan, run_id, str(args.get("until", "end")))
            run_id = self._may_start(conn, run_id)
        if run_id is None:
            if verb is not Verb.START and not (verb is Verb.ROLLBACK and self._plan.layout):
                raise Refused("Nothing was started yet.", do="Start the run first.")
            run_id = self._begin(conn, self._plan, forward=verb is Verb.START)
        row = runs.get(conn, run_id)
        if (
            verb is Verb.START
            and row is not None
            and row.status is RunStatus.ROLLED_BACK
            and row.plan_sha256 != self._plan.sha256
        ):  # nothing of the old plan stands: the changed one is a new run
            run_id = self._begin(conn, self._plan)
            row = runs.get(conn, run_id)
        assert row is not None
        admission.refuse_other_plan(conn, self._plan, row)
        return commands.send(conn, run_id, verb, args, actor=self._settings.operator)

    def _may_start(self, conn: Conn, run_id: int | None) -> int | None:
        """Raises PlanError or Refused where the run may not go on. Returns it, or None where a new one has to begin.

        A directory of migrations may change where the run stopped: what that run did stands, and it is closed.
        """
        assert self._plan is not None
        stopped = runs.get(conn, run_id) if run_id is not None else None
        if stopped is None or not migrations.may_close(conn, self._plan, stopped):
            refuse_unapproved(conn, self._settings, self._plan, run_id)
            return run_id
        refuse_unapproved(conn, self._settings, self._plan, None)
        migrations.ready(conn, self._plan, forward=True)
        migrations.close(conn, stopped.id, self._settings.operator)
        self._run_id = None
        return None

    def _begin(self, conn: Conn, plan: Plan, *, forward: bool = True) -> int:
        """A new run of the plan. Raises ConnectionFailed on a server the plan is not for."""
        major = conn.info.server_version // 10000
        if not plan.server_min <= major <= plan.server_max:
            raise ConnectionFailed(
                f"The server is PostgreSQL {major}; the plan is for {plan.server_min} to {plan.server_max}.",
                state="Nothing was changed.",
                do="Choose another server, or have the plan reviewed for this version ([server] in plan.toml).",
            )
        before = migrations.ready(conn, plan, forward=forward)
        schema.install(conn)
        self._run_id = runs.create(conn, plan, self._settings.operator, before)
        return self._run_id

    def _ensure_runner(self, conn: Conn) -> None:
        assert self._plan is not None
        assert self._run_id is not None
        if self._runner is not None and self._runner.poll() is None:
            return
        held = lease.read(conn, self._run_id)
        if held is not None and held.age_s < lease.GONE_SECONDS:
            return
        if not commands.pending(conn, self._run_id) or self.runner_died():
            return
        self._start_runner()

    def _start_runner(self, *, takeover: bool = False) -> None:
        assert self._plan is not None
        assert self._run_id is not None
        patience = DEMO_PATIENCE_SECONDS if self._settings.environment == "DEMO" else RECONNECT_SECONDS
        log = log_file(self._run_id)
        self._log_from = (
            len(log.read_text(errors="replace")) if log.exists() else 0
        )  # runners before it wrote there too
        self._runner = start_runner(
            self._settings.dsn, self._plan.root, self._run_id, self._settings.operator, layout=self._plan.layout,
            takeover=takeover, patience_s=patience,
        )  # fmt: skip

    def runner_died(self) -> str:
        """What the runner we started said when it ended in the middle of a run; empty while all is well.

        One that was refused, or taken over, is no loss: somebody else's carries the run.
        """
        if self._runner is None or self._runner.poll() in (None, 0, 1, Refused.exit_code, 6):
            return ""
        return self._last_words()

    def _ended(self) -> bool:
        return self._runner is not None and self._runner.poll() is not None

    def _last_words(self) -> str:
        assert self._runner is not None
        assert self._run_id is not None
        if self._runner.returncode < 0:
            return f"it was ended by signal {-self._runner.returncode}"
        lines = log_file(self._run_id).read_text(errors="replace")[self._log_from :].strip().splitlines()
        return (
            lines[-1].removeprefix("pgferry: ").rstrip(".")
            if lines
            else f"the runner ended with code {self._runner.returncode}"
        )

    def report_state(self) -> RunState:
        """The state of the run with what only a report shows: what the applications felt of each step."""

        def read_all(conn: Conn) -> RunState:
            state = self._audited(conn)
            if state.traffic is None:
                return state
            return replace(state, traffic=replace(state.traffic, steps=steps.latencies(conn, state.run_id)))

        return self._use(read_all)

    def recording(self, run_id: int) -> Recording:
        """The whole run, to be replayed or drawn. Raises ConnectionFailed for a role that may not read its history."""
        return self._use(lambda conn: record(conn, run_id, self._settings.environment))

    def save_report(self) -> str:
        """Write the report as Markdown, JSON, HTML and a recording; returns the path of the Markdown file."""
        state = self.report_state()
        recorded = self.recording(state.run_id)
        folder = state_folder() / "reports"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"run-{state.run_id}-{datetime.now(UTC):%Y%m%d-%H%M%S}.md"
        path.write_text(report_markdown(state), encoding="utf-8")
        path.with_suffix(".json").write_text(json.dumps(report_json(state), indent=2, default=str), encoding="utf-8")
        path.with_suffix(".html").write_text(run_html(state, recorded), encoding="utf-8")
        path.with_suffix(".jsonl").write_text("".join(f"{line}\n" for line in to_lines(recorded)), encoding="utf-8")
        return str(path)

    def close(self) -> None:
        """Release connections; the run goes on."""
        for conn in (self._conn, self._listener):
            if conn is not None and not conn.closed:
                conn.close()
        self._looker.close()


def finished(state: RunState) -> bool:
    """Whether nothing more happens without a person: an end state, or a stop, and no runner holds it."""
    return (
        state.status not in (RunStatus.RUNNING, RunStatus.PAUSING, RunStatus.ROLLING_BACK, RunStatus.NEW)
        and state.lease is None
    )
