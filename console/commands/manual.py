"""``pgferry manual``: a page for a terminal and its pager, or as it is written for anything else."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import subprocess
import sys

from console.headless.words import table
from console.manual.pages import page, pages, without_links

WIDEST = 100  # cells; longer lines are hard to read


def manual(topic: str) -> int:
    """Show the page of a topic, or, without one, which there are."""
    if not topic:
        rows = table([[doc.name, doc.title] for doc in pages()])
        print("\n".join(["Topics, read with pgferry manual TOPIC:", "", *(f"  {row}" for row in rows)]))
        return 0
    text = page(topic).text
    if not sys.stdout.isatty():
        sys.stdout.write(text)
        return 0
    size = shutil.get_terminal_size()
    utf8 = "utf" in (sys.stdout.encoding or "").lower()  # what is drawn has lines that other terminals lack
    shown = _drawn(text, min(size.columns, WIDEST)) if utf8 else text
    if os.environ.get("TERM") == "dumb" or shown.count("\n") < size.lines or not _paged(shown):
        sys.stdout.write(shown)
    return 0


def _drawn(text: str, width: int) -> str:
    """The page in the terminal's colours."""
    from rich.console import Console
    from rich.markdown import Markdown
    from rich.theme import Theme

    made = io.StringIO()
    looks = Theme({"markdown.code": "bold", "markdown.h1": "bold", "markdown.h2": "bold underline"})  # on any ground
    pen = Console(file=made, width=width, force_terminal=True, color_system="standard", theme=looks)
    pen.print(Markdown(without_links(text), code_theme="ansi_dark", hyperlinks=False))
    return made.getvalue()


def _paged(text: str) -> bool:
    """Show it in the user's pager; False where there is none."""
    words = shlex.split(os.environ.get("PAGER", "less"))
    if not words or shutil.which(words[0]) is None:
        return False
    environ = {"LESS": "FRX", **os.environ}  # colours as they are, the page stays on the screen
    subprocess.run(words, input=text.encode(), env=environ, check=False)
    return True
