"""What a task would run: its statements with locks and hazards, the SQL text, the way back, the tables' sizes."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

from console.plan import approval
from console.sql.model import Statement, TaskPreview
from console.text import plain, shorten
from console.tui.draw import numbers
from console.tui.draw.base import beside, cell, ends, fill, fit, heading, joined, line, rule, scrolled, span, wrap
from console.tui.draw.locks import SLOW, lock_lines, lock_summary, name_of, strongest, yes_no
from console.tui.draw.source import first_line, numbered
from console.tui.facts import Facts
from console.tui.glyphs import Glyphs

SQL_LINES = 4  # of a statement that are always in sight at 80 columns
LOCKS = 6  # of a statement that are listed
MORE = 3  # lines of checks in the header
SECOND = {
    "parsed": "sqlglot parsed it",
    "opaque": "sqlglot has no grammar for it",
    "failed": "sqlglot could not parse it",
}
UP = "up"
DOWN = "down"


def statements(preview: TaskPreview, side: str, words: str = "") -> tuple[Statement, ...]:
    """The statements forward (``up``) or of the way back (``down``); only those with all of ``words``, where there are some.

    Words are looked for in the SQL, the locks' modes and objects, the hazards' codes and the word ``hazard`` itself.
    """
    every = preview.up if side == UP else preview.down
    wanted = words.casefold().split()
    return tuple(one for one in every if all(word in _told(one) for word in wanted)) if wanted else every


def _told(statement: Statement) -> str:
    locks = [f"{lock.mode} {lock.object} {lock.basis}" for lock in statement.locks]
    hazards = [f"hazard {hazard.code}" for hazard in statement.hazards if hazard.level == "hurts"]
    parts = (statement.sql, statement.kind, *locks, *hazards, "rewrite" if statement.rewrite else "", *statement.notes)
    return "\n".join(parts).casefold()


def header(preview: TaskPreview, title: str, side: str, facts: Facts, width: int) -> list[Text]:
    """The task and its file, what it does, and a line for each of its first checks."""
    file = preview.file if side == UP else preview.down_file
    origin = file or ("made from the mapping" if preview.derived else "")
    first = line((f" {preview.task_id}  ", "title"), (title, "title"))
    direction = line(("way back ", "warn") if side == DOWN else ("forward ", "ok"), (origin, ""))
    sentence, *checks = preview.text.splitlines() or [""]
    more = [fit(line("   ", (item, "dim")), width) for item in checks[:MORE]]
    if len(checks) > MORE:
        more[-1] = line("   ", (f"and {len(checks) - MORE + 1} more checks", "dim"))
    words = sentence.removeprefix(f"Runs the statements of {file}, ")  # the file is named beside it
    second = line(" ", direction, ("  " + words if words != f"Runs {file}." else "", "dim"))
    return [ends(first, _approval(facts, width // 2), width), fit(second, width), *more, *_of_the_task(preview, width)]


def _approval(facts: Facts, width: int) -> Text:
    """Who approved which digest; the plan's digest alone where nobody did or has to."""
    stands = facts.state.approval if facts.state else None
    if stands is None or not (stands.needed or stands.counted):
        return line((f"plan {facts.plan.sha256[:8]} " if facts.plan else "", "dim"))
    words = shorten(plain(approval.brief(stands)), max(width - 14, 12))
    style = "ok" if stands.enough else "warn"
    return line((words, style), (f" {facts.glyphs.dot} {approval.grouped(stands.sha256)} ", "dim"))


def _of_the_task(preview: TaskPreview, width: int) -> list[Text]:
    """What only the whole plan shows of the task: hazards first, then notes."""
    hazards = sorted(preview.hazards, key=lambda hazard: hazard.level != "hurts")
    lines = [
        fit(line((plain(f" {hazard.code}: {hazard.message}"), "bad" if hazard.level == "hurts" else "warn")), width)
        for hazard in hazards[:MORE]
    ]
    if len(hazards) > MORE:
        lines[-1] = line((f" and {len(hazards) - MORE + 1} more hazards of the task: pgferry plan has them", "warn"))
    return lines


def statement_rows(
    items: Sequence[Statement],
    chosen: int,
    width: int,
    glyphs: Glyphs,
    sizes: Sequence[tuple[str, int, int]],
    total: int = 0,
) -> tuple[list[Text], int]:
    """The list of statements, the chosen one with its facts beneath; and the line on which the chosen one stands.

    ``total``: how many there are where ``items`` are only some of them.
    """
    lines: list[Text] = []
    filtered = total > len(items)
    at = 0
    for index, statement in enumerate(items):
        selected = index == chosen
        mark = (glyphs.cursor, "mark") if selected else " "
        number = (f"{statement.ordinal if filtered else index + 1}/{total or len(items)} ", "dim")
        head = ends(line(number, first_line(statement.sql)), lock_summary(statement), width - 1)
        if selected:
            at = len(lines)
            head.stylize("cursor")
        lines.append(line(mark, head))
        if selected:
            lines += facts_of(statement, width, sizes)
    return lines, at


def facts_of(statement: Statement, width: int, sizes: Sequence[tuple[str, int, int]] = ()) -> list[Text]:
    """Everything known of a statement, the worst first.

    Differences from what was measured, hazards with their safe form, who waits, how long, locks, what else is known.
    """
    room = width - 8
    mark = statement.measured
    lines: list[Text] = []
    for words in mark.differences if mark else ():
        lines += wrap(f"DIFFERENCE: {words}", room, "bad", limit=2)
    lines += _hazards(statement, room)
    if statement.blocks:
        loud = strongest(statement)
        lines += wrap(statement.blocks, room, "" if loud and not loud.new else "dim", limit=2)
    if statement.estimate is not None:
        seconds = statement.estimate.seconds
        lines += wrap(statement.estimate.words, room, "warn" if seconds is None or seconds >= SLOW else "dim", limit=2)
    known = {name_of(table): f"{numbers.short(rows)} rows, {numbers.size(size)}" for table, rows, size in sizes}
    for lock in statement.locks[:LOCKS]:
        lines += lock_lines(lock, width - 6, known.pop(name_of(lock.object), ""), mark)
    if len(statement.locks) > LOCKS:
        lines.append(line((f"and {len(statement.locks) - LOCKS} more locks: pgferry plan lists them", "dim")))
    if mark is not None:
        wal = f", WAL {numbers.size(mark.wal_bytes)}" if mark.wal_bytes else ""
        lines.append(line((f"measured in the rehearsal: {numbers.ms(mark.ms)}{wal}", "dim")))
        lines += wrap(f"not measured: {mark.partial}", room, "warn", limit=2) if mark.partial else []
    for note in statement.notes:
        lines += wrap(note, room, "warn" if "not in this database" in note else "dim", limit=2)
    touched = {name_of(table) for table in statement.tables}
    lines += [line(f"{table}: {words}") for table, words in known.items() if table in touched]
    lines.append(line((_nature(statement), "dim")))
    return [line("      ", item) for item in lines]


def _hazards(statement: Statement, room: int) -> list[Text]:
    lines: list[Text] = []
    for hazard in statement.hazards:
        hurts = hazard.level == "hurts"
        lines += wrap(f"{hazard.code}: {hazard.message}", room, "bad" if hurts else "warn", limit=3)
        if hazard.safer and hurts:
            lines += wrap(f"safer: {hazard.safer}", room, "ok", limit=3)
    for hazard in statement.accepted:
        lines += wrap(f"accepted {hazard.code}: {hazard.allowed}", room, "dim", limit=2)
    return lines


def _nature(statement: Statement) -> str:
    words = [f"rewrites the table: {yes_no(statement.rewrite)}", f"reads all rows: {yes_no(statement.scan)}"]
    if not statement.transactional:
        words.append("not in a transaction")
    return ", ".join(words)


def readers_line(statement: Statement, glyphs: Glyphs) -> Text:
    """Who understood the statement; doubt is said, never hidden."""
    readers = statement.read_by
    second = SECOND.get(readers.sqlglot, f"sqlglot: {readers.sqlglot}")
    grammar = "read by PostgreSQL's grammar" if readers.postgresql else "NOT understood by PostgreSQL's grammar"
    agree = {True: "they agree", False: "they DISAGREE", None: ""}[readers.agree]
    style = "dim" if readers.postgresql and readers.agree is not False else "bad"
    return line(" ", joined([(part, style) for part in (grammar, second, agree) if part], glyphs))


def way_back(preview: TaskPreview, width: int) -> list[Text]:
    """The other direction in short: the reason there is none, or its statements."""
    if preview.no_way_back:
        return [line(" ", item) for item in wrap(f"none: {preview.no_way_back}", width - 2, "warn", limit=2)]
    if not preview.down:
        return [line((" the engine undoes it: see the rollback panel, u", "dim"))]
    return [
        ends(line((f" {number:>4}  ", "dim"), first_line(item.sql)), lock_summary(item, short=True), width)
        for number, item in enumerate(preview.down, start=1)
    ]


def back_part(preview: TaskPreview, glyphs: Glyphs, width: int, limit: int) -> list[Text]:
    """The way back under its heading, with what a rehearsal says of it: beside the file's name, or beneath where it is long."""
    lines = way_back(preview, width)[:limit]
    title = f"way back  {preview.down_file}".rstrip()
    if not preview.rehearsed:
        return [heading(glyphs, width, title), *lines]
    words = line((preview.rehearsed, "ok" if preview.rehearsed_well else "warn"))
    if cell_len(plain(title)) + words.cell_len + 9 > width:
        return [heading(glyphs, width, title), fit(line(" ", words), width), *lines]
    head = heading(glyphs, width, title)
    head.truncate(width - words.cell_len - 4)
    return [line(head, " ", words, " ", (glyphs.rule * 2, "rule")), *lines]


def stacked(
    preview: TaskPreview, title: str, side: str, chosen: int, facts: Facts, size: tuple[int, int], words: str = ""
) -> list[Text]:
    """The screen at 80 columns: statements, SQL, way back, who read it, one under the other."""
    width, height = size
    items = statements(preview, side, words)
    lines = [*header(preview, title, side, facts, width), rule(facts.glyphs, width)]
    back = back_part(preview, facts.glyphs, width, 2) if side == UP else []
    room = height - len(lines) - len(back) - bool(items)
    total = len(statements(preview, side))
    listed, at = statement_rows(items, chosen, width, facts.glyphs, preview.sizes, total)
    text = numbered(items[chosen].sql, items[chosen].line, width) if items else []
    listing = min(len(listed), max(room - 1 - min(len(text), SQL_LINES), room // 2)) if items else 1
    if not items:
        lines += fill([_nothing(preview, side, words)], width, room)
    else:
        top = scrolled(0, min(at + listing - 2, len(listed) - 1), len(listed), listing)
        lines += fill(listed[min(top, at) :], width, listing)
        lines.append(rule(facts.glyphs, width, f"statement {chosen + 1}, line {items[chosen].line}"))
        lines += fill(text, width, room - listing - 1)
    lines += back
    if items:
        lines.append(readers_line(items[chosen], facts.glyphs))
    return fill(lines, width, height)


def _nothing(preview: TaskPreview, side: str, words: str = "") -> Text:
    if words and statements(preview, side):
        return line(" ", (f"No statement of this task has the words: {words}", "dim"))
    if side == DOWN:
        return line(" ", (f"No statements: {preview.no_way_back or 'the engine undoes it'}", "warn"))
    return line(" ", ("This task runs no statements of its own.", "dim"))


def split(
    preview: TaskPreview, title: str, side: str, chosen: int, facts: Facts, size: tuple[int, int], words: str = ""
) -> list[Text]:
    """The screen at 110 columns and more: statements and their facts at the left, SQL and way back at the right."""
    width, height = size
    left_width = width * 11 // 20
    right_width = width - left_width - 3
    items = statements(preview, side, words)
    top = [*header(preview, title, side, facts, width), rule(facts.glyphs, width)]
    room = height - len(top)
    if not items:
        return fill([*top, _nothing(preview, side, words), line(), *_sizes(preview)], width, height)
    total = len(statements(preview, side))
    listed, at = statement_rows(items, chosen, left_width, facts.glyphs, preview.sizes, total)
    first = min(scrolled(0, min(at + 8, len(listed) - 1), len(listed), room - 1), at)
    left = fill(listed[first:], left_width, room - 1)
    left.append(fit(readers_line(items[chosen], facts.glyphs), left_width))
    back = back_part(preview, facts.glyphs, right_width, max(room // 3, 2)) if side == UP else []
    sql_room = room - len(back)
    right = fill(numbered(items[chosen].sql, items[chosen].line, right_width), right_width, sql_room)
    right += back
    return fill([*top, *beside(left, right, facts.glyphs, (left_width, right_width))], width, height)


def _sizes(preview: TaskPreview) -> list[Text]:
    return [
        line(" ", cell(plain(name_of(table)), 36), f"about {numbers.count(rows)} rows, {numbers.size(size)}")
        for table, rows, size in preview.sizes
    ]


def whole(preview: TaskPreview, side: str, top: int, facts: Facts, size: tuple[int, int]) -> list[Text]:
    """All SQL of one direction, every statement under its number; ``top`` is the first line shown."""
    width, height = size
    lines = whole_lines(preview, side, width, facts.glyphs)
    first = scrolled(top, top, len(lines), height - 1)
    name = (preview.file if side == UP else preview.down_file) or preview.task_id
    title = f" {name}  {'forward' if side == UP else 'way back'}"
    head = ends(line((title, "title")), line((span(first, height - 1, len(lines)) + " ", "dim")), width)
    return fill([head, *lines[first:]], width, height)


def whole_lines(preview: TaskPreview, side: str, width: int, glyphs: Glyphs) -> list[Text]:
    """The lines of the whole view."""
    lines: list[Text] = []
    items = statements(preview, side)
    for number, statement in enumerate(items, start=1):
        lines.append(heading(glyphs, width, f"statement {number} of {len(items)}", "dim"))
        lines += numbered(statement.sql, statement.line, width)
    return lines or [_nothing(preview, side)]
