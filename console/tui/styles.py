"""Names of styles used by the drawing functions, resolved from the theme's own colours."""

from __future__ import annotations

from collections.abc import Mapping

from rich.style import Style
from textual.color import Color


def _colour(variables: Mapping[str, str], name: str) -> Style:
    return Style(color=Color.parse(variables[name]).rich_color)


def _on(variables: Mapping[str, str], name: str, ansi: bool) -> Style:
    """A word on a ground of the named colour; with terminal colours by exchanging fore and background."""
    if ansi:
        return _colour(variables, name) + Style(reverse=True, bold=True)
    ground = Color.parse(variables[name])
    return Style(color=ground.get_contrast_text(1.0).rich_color, bgcolor=ground.rich_color, bold=True)


def styles(variables: Mapping[str, str], *, ansi: bool) -> dict[str, Style]:
    """The style of every name. ``variables`` are the theme's; ``ansi`` says it uses the terminal's own 16 colours."""
    ok = _colour(variables, "success")
    warn = _colour(variables, "warning")
    bad = _colour(variables, "error") + Style(bold=True)
    quiet = Style(dim=True) if ansi else _muted(variables)
    accent = _colour(variables, "secondary" if ansi else "primary")
    if ansi:
        cursor = Style(bold=True, underline=False)
    else:
        bad = Style(color=Color.parse(variables["text-error"]).rich_color, bold=True)
        accent = Style(color=Color.parse(variables["text-primary"]).rich_color)
        cursor = Style(bgcolor=Color.parse(variables["surface-lighten-2"]).rich_color)
    return {
        "ok": ok,
        "warn": warn,
        "bad": bad,
        "run": accent + Style(bold=True),
        "accent": accent + Style(bold=True),
        "dim": quiet,
        "rule": quiet,
        "title": Style(bold=True),
        "key": Style(bold=True),
        "cursor": cursor,
        "mark": accent + Style(bold=True),
        "ask": warn + Style(bold=True),
        "band.word": Style(bold=True, reverse=True),
        "band.prod": _on(variables, "error", ansi),
        "band.staging": _on(variables, "warning", ansi),
        "band.dev": _on(variables, "success", ansi),
        "band.demo": _on(variables, "secondary" if ansi else "primary", ansi),
        "band.control": Style(bold=True),
        "band.quiet": quiet,
        "sql.keyword": accent,
        "sql.type": accent,
        "sql.function": Style(),
        "sql.string": ok,
        "sql.number": ok,
        "sql.comment": quiet,
    }


def _muted(variables: Mapping[str, str]) -> Style:
    """The foreground, two fifths of the way to the background."""
    ground = Color.parse(variables["background"])
    return Style(color=ground.blend(Color.parse(variables["foreground"]), 0.62).rich_color)
