"""A rollback in full: every fact and every statement with its lock, as lines to scroll, and as a file."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from console.journal.state import RollbackPreview, RollbackStep
from console.text import plain
from console.tui.draw import numbers
from console.tui.draw.base import heading, line, wrap
from console.tui.draw.source import first_line, numbered
from console.tui.glyphs import Glyphs

_LOUD = {"ACCESS EXCLUSIVE": "bad", "EXCLUSIVE": "warn", "SHARE ROW EXCLUSIVE": "warn", "SHARE": "warn"}


def lock_style(words: str) -> str:
    """How loud a lock in words is drawn."""
    return next((style for mode, style in _LOUD.items() if words.startswith(f"{mode} on ")), "dim")


def sections(preview: RollbackPreview) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """(title, sentences, style) of everything that is no statement, the most important first."""
    if preview.impossible:
        yield "It cannot be done", (preview.impossible,), "bad"
        return
    yield "What is lost", preview.loses or ("nothing",), "bad" if preview.loses else "ok"
    yield "First", preview.before, "warn"
    yield "Rows", preview.facts, ""
    yield "What stays", preview.keeps, ""


def step_lines(step: RollbackStep, number: int, total: int, width: int, glyphs: Glyphs) -> list[Text]:
    """One step: what it does, how long and from what that is told, each statement under its lock."""
    lines = [heading(glyphs, width, f"{number} of {total}  {step.task_id}")]
    lines += [line(" ", item) for item in wrap(step.text, width - 2)]
    why = f"{numbers.about(step.seconds)}: {step.basis}" if step.basis else numbers.about(step.seconds)
    lines += [line(" ", item) for item in wrap(why, width - 2, "dim")]
    locks = step.locks or ("",) * len(step.statements)
    before = ""
    for text, lock in zip(step.statements, locks, strict=True):
        if lock and lock != before:
            lines += [line("   ", item) for item in wrap(lock, width - 4, lock_style(lock))]
        before = lock
        lines += numbered(text, 1, width) if "\n" in text.strip() else [line("     ", first_line(text))]
    return lines


def full(preview: RollbackPreview, width: int, glyphs: Glyphs) -> list[Text]:
    """Everything, to scroll through."""
    lines: list[Text] = []
    for title, sentences, style in sections(preview):
        for place, sentence in enumerate(sentences):
            if not place:
                lines.append(line((f" {title}", "title")))
            lines += [line("   ", item) for item in wrap(sentence, width - 4, style)]
    for number, step in enumerate(preview.steps, start=1):
        lines += step_lines(step, number, len(preview.steps), width, glyphs)
    return lines


def beside(step: RollbackStep, number: int, total: int, size: tuple[int, int], glyphs: Glyphs) -> list[Text]:
    """The chosen step at the right of the panel."""
    width, height = size
    lines = step_lines(step, number, total, width, glyphs)
    if len(lines) > height:
        lines = [*lines[: height - 1], line((f"   {len(lines) - height + 1} more lines: v shows all", "dim"))]
    return lines


def plan_text(preview: RollbackPreview) -> str:
    """The rollback as a file: facts as comments, and each step's statements."""
    parts = [
        f"-- roll back to {preview.to}",
        "-- What pgferry would run, for reading: it also compares rows, carries back what only the new side holds,",
        "-- gives up locks that others wait for, and notes each step in its journal.",
    ]
    for title, sentences, _ in sections(preview):
        parts += [f"-- {title}: {_one_line(sentence)}" for sentence in sentences]
    for number, step in enumerate(preview.steps, start=1):
        parts += ["", f"-- {number}. {step.task_id}: {_one_line(step.text)}"]
        parts.append(f"--    {numbers.about(step.seconds)}{f': {_one_line(step.basis)}' if step.basis else ''}")
        for text, lock in zip(step.statements, step.locks or ("",) * len(step.statements), strict=True):
            parts += [f"--    {_one_line(lock)}"] if lock else []
            parts.append(f"{text.strip().rstrip(';')};")
    return "\n".join(parts) + "\n"


def _one_line(text: str) -> str:
    return " ".join(plain(text).split())
