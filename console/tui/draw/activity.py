"""Other people: sessions that block us, wait behind us or use an old table, and the applications' figures."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from console.journal.state import RunState, Session
from console.tui.draw import numbers
from console.tui.draw.base import cell, fill, fit, heading, line, scrolled, wrap
from console.tui.draw.live import BLOCKS, BLOCKS_BLOCKER, OURS, USES_OLD, WAITS, latency_row
from console.tui.facts import Facts
from console.tui.glyphs import Glyphs

ORDER = (BLOCKS, BLOCKS_BLOCKER, OURS, WAITS, USES_OLD)
ROLE_STYLE = {BLOCKS: "bad", BLOCKS_BLOCKER: "bad", OURS: "run", WAITS: "bad", USES_OLD: "warn"}


def ranked(state: RunState | None, words: str = "") -> list[Session]:
    """Sessions that contain the words: who blocks us, who waits behind us, who uses the old table."""
    wanted = words.lower()
    found = [
        item
        for item in (state.sessions if state else ())
        if wanted in f"{item.pid} {item.application} {item.user} {item.role} {item.table} {item.query}".lower()
    ]
    return sorted(found, key=lambda item: (ORDER.index(item.role) if item.role in ORDER else 9, -item.age_s))


def _row(session: Session, selected: bool, width: int, glyphs: Glyphs) -> Text:
    mark = (glyphs.cursor, "mark") if selected else " "
    text = fit(
        line(
            cell(session.role, 18, ROLE_STYLE.get(session.role, "")),
            cell(str(session.pid), 8, right=True),
            "  ",
            cell(session.application, 17),
            " ",
            cell(session.state, 20),
            cell(numbers.age(session.age_s), 10, right=True),
            "  ",
            ((session.table or session.query) if width >= 100 else "", "dim"),
        ),
        width - 1,
    )
    if selected:
        text.stylize("cursor")
    return line(mark, text)


def screen(facts: Facts, items: Sequence[Session], chosen: int, size: tuple[int, int]) -> list[Text]:
    """Sessions with the chosen one's query, then who leads and how the applications fare."""
    width, height = size
    below = [*_leads(facts), *_figures(facts, width, max(height - 20, 6))]
    above = _waits(facts, width)
    lines = _sessions(facts, items, chosen, (width, max(height - len(below) - len(above), 8)))
    return fill([*above, *lines, *below], width, height)


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
            line(" ", ("No session is known that blocks us, waits behind us or uses an old table.", "ok")),
            line(" ", ("The runner looks while it waits for a lock and while old tables drain.", "dim")),
            line(),
        ]
    head = line(
        " ",
        cell("what", 18, "dim"),
        cell("pid", 8, "dim", right=True),
        "  ",
        cell("application", 18, "dim"),
        cell("state", 20, "dim"),
        cell("since", 10, "dim", right=True),
        ("  table or query" if width >= 100 else "", "dim"),
    )
    session = items[chosen]
    chain = f", itself waiting for pid {session.waits_for}" if session.waits_for else ""
    who = f"pid {session.pid}, {session.application} as {session.user}{chain}: {session.query}"
    query = wrap(who, width - 2, limit=3)
    listing = max(min(len(items), height - 3 - len(query)), 1)
    top = scrolled(0, chosen, len(items), listing)
    listed = [_row(item, item is session, width, facts.glyphs) for item in items[top : top + listing]]
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
