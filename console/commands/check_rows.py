"""``pgferry check --rows``: every row of the mappings compared now, repaired on request, or watched until the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import psycopg

from console.commands.operate import out, the_plan
from console.commands.settings import Settings
from console.engine import rows
from console.engine.rows import Orders, Outcome
from console.engine.scan import Scan
from console.engine.session import RECONNECT_SECONDS, is_lost
from console.engine.visit import PATIENCE_S, Visitor, visit
from console.errors import ConnectionFailed, FerryError, Refused, UsageError
from console.headless.words import count, duration, safe
from console.journal.difference import Difference
from console.plan.model import Mapping, Plan

SAY_S = 5.0


@dataclass(frozen=True, slots=True)
class RowsWanted:
    """The command's words. ``mapping`` empty: all of the plan. ``watch_s`` 0: once."""

    orders: Orders
    mapping: str = ""
    watch_s: float = 0.0
    output: str = "text"


def check_rows(settings: Settings, wanted: RowsWanted) -> int:
    """Compare; exit code 0 when every row is equal (or was made so), 1 when differences remain."""
    plan = the_plan(settings)
    mappings = _chosen(plan, wanted.mapping)
    patience = RECONNECT_SECONDS if wanted.watch_s else PATIENCE_S
    with _clear(visit(plan, settings.dsn, settings.operator, patience_s=patience)) as visitor:
        visitor.say = lambda text: print(f"pgferry: {safe(text)}", file=sys.stderr)
        if wanted.orders.repair and not visitor.journal:
            raise Refused(
                "There is no run in this database, or this role may not write to its journal: nothing can be repaired.",
                state="Nothing was changed.",
                do="Repair as the role that runs the plan.",
            )
        if wanted.watch_s:
            good = rows.watch(visitor, mappings, wanted.orders, wanted.watch_s, _say(wanted.output))
            return int(not good)
        outcomes = [
            rows.once(
                visitor, mapping, wanted.orders, origin="repair" if wanted.orders.repair else "check",
                show=_progress(mapping),
            )
            for mapping in mappings
        ]  # fmt: skip
    if wanted.output == "json":
        out([_as_json(outcome, wanted.orders.limit) for outcome in outcomes])
    else:
        for outcome in outcomes:
            for line in lines(outcome, wanted.orders.limit):
                out(line)
    return int(not all(outcome.verdict.ok for outcome in outcomes))


def _chosen(plan: Plan, wanted: str) -> tuple[Mapping, ...]:
    if not plan.mappings:
        raise UsageError("The plan has no mappings: there are no rows to compare.")
    if not wanted:
        return plan.mappings
    found = tuple(mapping for mapping in plan.mappings if mapping.id == wanted)
    if not found:
        known = ", ".join(mapping.id for mapping in plan.mappings)
        raise UsageError(f"The plan has no mapping {wanted}.", do=f"It has: {known}.")
    return found


@contextmanager
def _clear(visitor: Visitor) -> Iterator[Visitor]:
    """Whatever the server refuses becomes one sentence; the connection is closed."""
    try:
        yield visitor
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConnectionFailed(
            f"This role may not do that: {str(error).splitlines()[0]}.",
            do="It needs SELECT on both tables, the lookups and the journal (USAGE on schema pgferry).",
        ) from None
    except psycopg.Error as error:
        if visitor.lost(error) or (isinstance(error, psycopg.OperationalError) and is_lost(visitor.conn, error)):
            raise ConnectionFailed("The connection to the server was lost.", do="Compare again.") from None
        raise FerryError(f"The server answered with an error: {str(error).splitlines()[0]}.") from None
    finally:
        visitor.drop()


def _progress(mapping: Mapping) -> Callable[[Scan, bool], None]:
    """How far it is, on stderr, every few seconds."""
    said = time.monotonic()

    def tell(scan: Scan, finished: bool) -> None:
        nonlocal said
        if not finished and time.monotonic() - said > SAY_S:
            said = time.monotonic()
            share = min(scan.verdict.old / scan.total, 0.999)
            print(
                f"pgferry: {mapping.id}: {share:.1%} compared, {count(scan.verdict.different)} differ so far",
                file=sys.stderr,
            )

    return tell


def _say(output: str) -> Callable[[Outcome], None]:
    """Each pass of a watch as a line, at once."""

    def tell(outcome: Outcome) -> None:
        if output == "json":
            import json

            print(json.dumps(_as_json(outcome, 20), ensure_ascii=False), flush=True)
        else:
            print("\n".join([f"{time.strftime('%H:%M:%S')}  {safe(_head(outcome))}", *_named(outcome, 20)]), flush=True)

    return tell


def _head(outcome: Outcome) -> str:
    verdict = outcome.verdict
    speed = f"{duration(verdict.ms / 1000)}, {count(1000 * verdict.old / max(verdict.ms, 1))} rows/s"
    repaired = f"{count(outcome.repaired)} repaired; " if outcome.repaired else ""
    return f"{'ok  ' if verdict.ok else 'FAIL'}  {outcome.mapping}: {repaired}{verdict.words()} ({speed})"


def lines(outcome: Outcome, limit: int) -> list[str]:
    """A mapping's outcome: the verdict, then each difference with the values of both sides."""
    return [safe(_head(outcome)), *_named(outcome, limit)]


def _named(outcome: Outcome, limit: int) -> list[str]:
    found = [line for difference in outcome.verdict.differences[:limit] for line in _difference(difference)]
    more = outcome.verdict.different - min(len(outcome.verdict.differences), limit)
    return [*found, f"      and {count(more)} more (--limit names more)"] if more > 0 else found


def _difference(difference: Difference) -> list[str]:
    found = [safe(f"      {difference.kind:10} {difference.named()}")]
    for name in difference.columns:
        old, new = ((side or {}).get(name) for side in (difference.old, difference.new))
        found.append(
            safe(f"        {name}: old {'NULL' if old is None else old} | new {'NULL' if new is None else new}")
        )
    return found


def _as_json(outcome: Outcome, limit: int) -> dict[str, object]:
    verdict = outcome.verdict
    return {
        "mapping": outcome.mapping, "ok": verdict.ok, "words": verdict.words(), "old": verdict.old, "new": verdict.new,
        "rejected": verdict.rejected, "held": verdict.held, "only_new": verdict.held_extra,
        "faults": dict(verdict.faults), "repaired": outcome.repaired, "seconds": round(verdict.ms / 1000, 3),
        "differences": [asdict(difference) for difference in verdict.differences[:limit]],
    }  # fmt: skip
