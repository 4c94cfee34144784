"""One run of the shipped plan under traffic, stopped to look at the moments that the README shows."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from console.commands.replay import ReplayWorld
from console.commands.world import finished
from console.journal.state import RunState, RunStatus, Verb
from console.plan.model import Plan
from console.tui.still import Still
from tests.pictures.neutral import NeutralWorld

WIDE, USUAL = (120, 34), (100, 30)
PATIENCE_S = 600.0
COPY_S = 30
WAITERS = 5


@dataclass
class Course:
    """The run and where its pictures go; ``say`` is told what happens."""

    world: NeutralWorld
    another: Callable[[], NeutralWorld]  # one that has read nothing yet
    plan: Plan
    conninfo: str
    rows: int
    folder: Path
    say: Callable[[str], None]

    def save(self, name: str, *actions: str, size: tuple[int, int] = USUAL) -> None:
        """The screen after these keys, as it is now."""
        still = Still(self.world, size)
        still.press(*actions)
        self._write(name, still)

    def preview(self, task_id: str) -> None:
        """What a task would run, with the database's own sizes."""
        fresh = self.another()
        try:
            still = Still(fresh, USUAL)
            still.preview(task_id)
            self._write("preview", still)
        finally:
            fresh.close()

    def _write(self, name: str, still: Still) -> None:
        path = self.folder / f"{name}.svg"
        path.write_text(still.picture(), encoding="utf-8")
        self.say(f"{path.name}: {still.shell.view.title}")

    def until(self, what: str, seen: Callable[[RunState], bool]) -> RunState:
        """Wait for a moment of the run. Raises TimeoutError when it does not come."""
        end = time.monotonic() + PATIENCE_S
        active = False
        while time.monotonic() < end:
            state = self.world.state()
            if seen(state):
                return state
            if active and finished(state):
                raise RuntimeError(f"the run stopped before {what} was seen")
            active = active or state.lease is not None
            if state.status is RunStatus.FAILED and what != "the failure":
                raise RuntimeError(f"the run failed while waiting for {what}: {state.error}")
            time.sleep(0.1)
        raise TimeoutError(what)

    def send(self, verb: Verb, **args: object) -> None:
        """A command to the runner."""
        receipt = self.world.send(verb, **args)
        if not receipt.accepted:
            raise RuntimeError(f"{verb}: {receipt.text}")

    def forward(self, until: str) -> None:
        """Forward to the end of a task, and wait for it."""
        self.say(f"forward to {until}")
        self.send(Verb.START, until=until)
        self.until(until, finished)

    def copying(self) -> None:
        """Tasks in mid copy, then the same copy held back by sessions that wait for a lock."""
        self.send(Verb.START, until="P2.2.2")
        self.until("the copy", lambda state: any(not p.finished for p in state.progress))
        self.send(Verb.SPEED, max_rows_per_second=self.rows // COPY_S)  # on a fast machine it would be over too soon
        self.until("the middle", lambda state: any(not p.finished and p.share > 0.4 for p in state.progress))
        self.save("tasks", size=WIDE)
        with self.waiting():
            self.until("the hold", lambda state: any(not p.finished and p.held for p in state.progress))
            self.save("backfill", "backfill")
        self.send(Verb.SPEED, max_rows_per_second=0)
        self.until("P2.2.2", finished)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """A session that holds a lock, and more than the copy's limit that wait for it."""

        def wait(number: int) -> None:
            with psycopg.connect(self.conninfo, application_name=f"arb-engine-{number}", autocommit=True) as conn:
                conn.execute("SELECT pg_advisory_lock_shared(42)")

        with psycopg.connect(self.conninfo, application_name="nightly-report", autocommit=True) as holder:
            holder.execute("SELECT pg_advisory_lock(42)")
            threads = [threading.Thread(target=wait, args=(number,)) for number in range(1, WAITERS + 1)]
            for thread in threads:
                thread.start()
            try:
                yield
            finally:
                holder.execute("SELECT pg_advisory_unlock(42)")
                for thread in threads:
                    thread.join()

    def blocked(self) -> None:
        """A statement that waits for its lock behind somebody's open transaction."""
        with psycopg.connect(self.conninfo, application_name="nightly-report") as holder:
            holder.execute("UPDATE symbols SET is_active = is_active WHERE id = (SELECT min(id) FROM symbols)")
            self.send(Verb.START, until="P2.2.7")
            self.until(
                "the blocker",
                lambda state: state.lock_wait is not None and state.lock_wait.waits and bool(state.sessions),
            )
            self.save("activity", "activity")
            holder.rollback()
        self.until("P2.2.7", finished)

    def differing(self) -> None:
        """A comparison that finds rows which somebody changed by hand; they are mended and the run goes on."""
        mapping = next(m for m in self.plan.mappings if m.id == "book_ticker")
        old, new = (psycopg.sql.Identifier(t.schema, t.name) for t in (mapping.old, mapping.new))
        with psycopg.connect(self.conninfo, application_name="psql", autocommit=True) as conn:
            some = psycopg.sql.SQL("(SELECT id FROM {} ORDER BY id LIMIT 3 OFFSET 1000)").format(new)
            conn.execute(psycopg.sql.SQL("UPDATE {} SET bid_qty = bid_qty + 1 WHERE id IN {}").format(new, some))
            self.send(Verb.START, until="P2.2.8")
            self.until("the failure", lambda state: state.status is RunStatus.FAILED and finished(state))
            self.save("checks", "checks", "open")
            conn.execute(psycopg.sql.SQL("UPDATE {} SET id = id WHERE id IN {}").format(old, some))
        self.send(Verb.RESUME)
        self.until("P2.2.8", finished)

    def replayed(self) -> None:
        """The same run, later: as a replay shows its copy."""
        run_id = self.world.state().run_id
        recorded = self.world.recording(run_id)
        moment = next(
            frame.at
            for frame in recorded.frames
            if frame.kind == "live"
            and frame.name.startswith("progress:")
            and frame.payload
            and frame.payload["share"] > 0.3
        )
        replay = ReplayWorld(recorded, self.plan)
        replay.player.go(moment)
        self._write("replay", Still(replay, USUAL))

    def run(self) -> None:
        """All of it, in the order of the run."""
        self.forward("P2.2.1")
        self.copying()
        self.forward("P2.2.5")
        self.preview("P2.2.6")
        self.blocked()
        self.differing()
        self.forward("P3.4.8")
        self.save("rollback", "rollback", *["left"] * 12)
        self.forward("P5.1.5")
        self.replayed()
