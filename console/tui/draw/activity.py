"""Other people: sessions that block us, wait behind us or use an old table, and the applications' figures."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from console.journal.state import RunState, Session
from console.tui.draw import numbers, replicas, uses
from console.tui.draw.base import cell, fill, fit, heading, line, scrolled, wrap
from console.tui.draw.live import (
    BLOCKS,
    BLOCKS_BLOCKER,
    BLOCKS_OTHERS,
    OURS,
    USES_NEW,
    USES_OLD,
    USES_TABLES,
    WAITS,
    WAITS_TOO,
    latency_row,
)
from console.tui.facts import Facts
from console.tui.glyphs import Glyphs

ORDER = (BLOCKS, BLOCKS_BLOCKER, BLOCKS_OTHERS, OURS, WAITS, WAITS_TOO, USES_OLD, USES_TABLES, USES_NEW)
ROLE_STYLE = {
    BLOCKS: "bad", BLOCKS_BLOCKER: "bad", BLOCKS_OTHERS: "bad", OURS: "run", WAITS: "bad", WAITS_TOO: "bad",
    USES_OLD: "warn", USES_TABLES: "warn",
}  # fmt: skip
OLD_AFTER_S = 30.0  # a picture so old is said to be old
DEEPEST = 4  # steps of a chain that are set in


def ranked(state: RunState | None, words: str = "") -> list[Session]:
    """Sessions that contain the words: chains of waits from their root, the longest first, then users of the tables."""
    wanted = words.lower()
    return [session for session, _ in _tree(_all(state)) if wanted in _text(session)]


def _text(session: Session) -> str:
    return f"{session.pid} {session.application} {session.user} {session.role} {session.table} {session.query}".lower()


def _all(state: RunState | None) -> list[Session]:
    """Every session once: as the newer look at locks has it, else as the picture of the tables' users has it."""
    if state is None:
        return []
    known = {
        (item.pid, item.query if not item.pid else ""): item for item in reversed((*state.sessions, *state.around))
    }
    return list(known.values())


def _tree(sessions: Sequence[Session]) -> list[tuple[Session, int]]:
    """Each session below the one it waits for, with its depth; who makes most others wait comes first."""
    pids = {item.pid for item in sessions}
    below: dict[int, list[Session]] = {}
    for item in sessions:
        if item.waits_for in pids and item.waits_for not in (0, item.pid):
            below.setdefault(item.waits_for, []).append(item)
    hung = {item.pid for items in below.values() for item in items}

    def weight(item: Session, seen: frozenset[int] = frozenset()) -> int:
        if item.pid in seen:
            return 0
        return 1 + sum(weight(child, seen | {item.pid}) for child in below.get(item.pid, ()))

    def order(item: Session) -> tuple[object, ...]:
        rank = ORDER.index(item.role) if item.role in ORDER else len(ORDER)
        return (-weight(item) if item.pid in below else 0, rank, -item.age_s, item.application, item.pid)

    found: list[tuple[Session, int]] = []
    placed: set[int] = set()

    def place(item: Session, depth: int) -> None:
        if item.pid in placed and item.pid:
            return
        placed.add(item.pid)
        found.append((item, depth))
        for child in sorted(below.get(item.pid, ()), key=order):
            place(child, depth + 1)

    roots = [item for item in sessions if item.pid not in hung]
    for item in [*sorted(roots, key=order), *sorted(sessions, key=order)]:  # the rest: those that wait in a circle
        if item.pid not in placed or (not item.pid and (item, 0) not in found):
            place(item, 0)
    return found


def _row(session: Session, depth: int, selected: bool, width: int, glyphs: Glyphs) -> Text:
    mark = (glyphs.cursor, "mark") if selected else " "
    text = fit(
        line(
            cell("  " * min(depth, DEEPEST) + session.role, 20, ROLE_STYLE.get(session.role, "")),
            cell(str(session.pid or "-"), 8, right=True),
            "  ",
            cell(session.application, 17),
            " ",
            cell(session.state, 19),
            cell(numbers.age(session.age_s) if session.age_s else "", 9, right=True),
            "  ",
            ((session.table or session.query) if width >= 100 else "", "dim"),
        ),
        width - 1,
    )
    if selected:
        text.stylize("cursor")
    return line(mark, text)


def screen(facts: Facts, items: Sequence[Session], chosen: int, size: tuple[int, int]) -> list[Text]:
    """Sessions with the chosen one's query, the drain and who uses which shape, replicas, how the applications fare."""
    width, height = size
    above = [*_age_of_picture(facts, width), *_waits(facts, width), *_drain(facts, width)]
    roomy = height >= 26
    around = [*uses.lines(facts, width, roomy), *replicas.lines(facts, width, roomy), *_leads(facts)]
    wanted = min(max(len(items), 1), 8) + 6
    below = [*around, *_figures(facts, width, max(height - 20, 6))][: max(height - len(above) - wanted, 0)]
    lines = _sessions(facts, items, chosen, (width, max(height - len(below) - len(above), 8)))
    return fill([*above, *lines, *below], width, height)


def _age_of_picture(facts: Facts, width: int) -> list[Text]:
    """Said where nobody looks any more: since when the picture is old, and what the runner may not see."""
    state = facts.state
    if state is None or state.activity is None:
        return []
    age = (state.server_now - state.activity.at).total_seconds()
    told = []
    if age > OLD_AFTER_S:
        words = f"Users of the tables and replicas as of {numbers.clock(state.activity.at)}, {numbers.age(age)} ago:"
        told.append(fit(line(" ", (f"{words} no runner looks now.", "warn")), width))
    told += [line(" ", item) for words in state.activity.hidden for item in wrap(words, width - 2, "warn", limit=2)]
    return told


def _drain(facts: Facts, width: int) -> list[Text]:
    drain = facts.state.drain if facts.state else None
    if drain is None:
        return []
    quiet = f"quiet for {numbers.age(drain.quiet_s)} of {numbers.age(drain.wanted_s)}"
    who = f", last used by {drain.last_user}" if drain.last_user else ""
    about = line(" ", (f"{drain.task_id} waits until nobody uses the {drain.side} tables: ", "title"))
    return [fit(line(about, (quiet, "ok" if drain.quiet_s >= 1 else "warn"), who), width), line()]


def _waits(facts: Facts, width: int) -> list[Text]:
    """The statement that waits for its lock, and how many wait for it in turn."""
    wait = facts.state.lock_wait if facts.state else None
    if wait is None:
        return []
    most = f" (at most {wait.most_behind})" if wait.most_behind > wait.behind else ""
    behind = f"{wait.behind} session{'s' if wait.behind != 1 else ''} behind it{most}"
    now = f"waits for its lock, attempt {wait.attempt}" if wait.waits else f"stands aside after attempt {wait.attempt}"
    about = line(" ", (f"{wait.task_id} {now}: ", "title"), (behind, "bad" if wait.behind else "ok"))
    return [fit(about, width), fit(line(" ", (wait.what, "dim")), width), line()]


def _sessions(facts: Facts, items: Sequence[Session], chosen: int, size: tuple[int, int]) -> list[Text]:
    width, height = size
    if not items:
        return [
            line(" ", ("No session is known that blocks us, waits, or uses a table of the plan.", "ok")),
            line(" ", ("The runner looks every few seconds while it is at work.", "dim")),
            line(),
        ]
    head = line(
        " ",
        cell("what", 20, "dim"),
        cell("pid", 8, "dim", right=True),
        "  ",
        cell("application", 18, "dim"),
        cell("state", 19, "dim"),
        cell("since", 9, "dim", right=True),
        ("  table and lock, or query" if width >= 100 else "", "dim"),
    )
    session = items[chosen]
    chain = f", itself waiting for pid {session.waits_for}" if session.waits_for else ""
    where = f" on {session.table}" if session.table else ""
    who = f"pid {session.pid}, {session.application} as {session.user}{where}{chain}: {session.query}"
    query = wrap(who, width - 2, limit=3)
    listing = max(min(len(items), height - 3 - len(query)), 1)
    top = scrolled(0, chosen, len(items), listing)
    depths = {id(item): depth for item, depth in _tree(_all(facts.state))}
    listed = [
        _row(item, depths.get(id(item), 0), item is session, width, facts.glyphs) for item in items[top : top + listing]
    ]
    return [head, *listed, line(), *(line(" ", item) for item in query), line()]


def _leads(facts: Facts) -> list[Text]:
    leads = facts.state.leads if facts.state else ()
    if not leads:
        return []
    words = {
        "old": "the old shape leads",
        "both": "both shapes are kept equal, either may be used",
        "new": "the new shape leads",
    }
    return [line(" ", cell(mapping, 24), words.get(shape, shape)) for mapping, shape in leads]


def _figures(facts: Facts, width: int, kinds: int) -> list[Text]:
    traffic = facts.state.traffic if facts.state else None
    if traffic is None:
        return [heading(facts.glyphs, width, "applications"), line(" ", ("They report no figures.", "dim"))]
    head = line(
        " ",
        cell("", max(width - 62, 18)),
        cell("operations", 13, "dim", right=True),
        cell("errors", 8, "dim", right=True),
        cell("p50", 10, "dim", right=True),
        cell("p99", 10, "dim", right=True),
        cell("slowest", 10, "dim", right=True),
    )
    lines = [
        heading(facts.glyphs, width, "applications, as they measure themselves"),
        head,
        latency_row("last 5 seconds", traffic.now, width),
        latency_row("during the run", traffic.during, width),
        latency_row("before the run", traffic.before, width),
    ]
    lines += [latency_row(f"  {kind}", latency, width) for kind, latency in traffic.by_kind[:kinds]]
    return lines + [fit(line(" ", (error, "bad")), width) for error in traffic.last_errors[-2:]]
