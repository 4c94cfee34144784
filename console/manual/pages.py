"""Reads the manual's pages."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from console.manual import TOPICS
from console.plan.model import Doc

_LINK = re.compile(r"\[([^\]\n]+)\]\([^)\s]+\)")


@cache
def pages() -> tuple[Doc, ...]:
    """Every page of the manual, in the order of TOPICS."""
    return tuple(page(topic) for topic in TOPICS)


@cache
def page(topic: str) -> Doc:
    """The page of one of TOPICS."""
    text = files("console.manual").joinpath(f"{topic}.md").read_text(encoding="utf-8")
    return Doc(topic, text.partition("\n")[0].lstrip("# "), text)


def without_links(text: str) -> str:
    """Markdown whose links are their words alone, for where nothing can be clicked."""
    return _LINK.sub(r"\1", text)
