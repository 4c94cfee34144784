"""The manual and the README: every page is listed, every link leads somewhere, every command is one."""

from __future__ import annotations

import io
import re
import shlex
import sys
from pathlib import Path

import pytest

from console import cli
from console.commands.manual import manual
from console.manual import TOPICS
from console.manual.pages import page, pages, without_links
from console.plan.model import Doc
from console.tui.draw.docs import doc_lines
from console.tui.draw.markdown import wrapped
from console.tui.glyphs import UNICODE

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "console" / "manual"
TEXTS = [ROOT / "README.md", *sorted(PAGES.glob("*.md"))]


def test_every_page_is_a_topic_with_a_title() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} == set(TOPICS)
    assert [doc.name for doc in pages()] == list(TOPICS)
    assert all(doc.title and doc.text.startswith(f"# {doc.title}\n") for doc in pages())


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        if "://" in name:
            continue
        found = (path.parent / name).resolve() if name else path
        assert found.is_file(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [heading.lower().replace(" ", "-") for heading in headings], target


def test_the_readme_leads_to_every_page() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"(console/manual/{topic}.md)" in text for topic in TOPICS)


def commands(text: str) -> list[str]:
    """What a reader may type: lines of shell blocks that begin with the program, and its name with words in code."""
    blocks = re.findall(r"^\s*```(?:sh|yaml)\n(.*?)^\s*```", text, re.DOTALL | re.MULTILINE)
    lines = [line.strip().removeprefix("- run: ") for block in blocks for line in block.splitlines()]
    return [line.removeprefix(".venv/bin/") for line in lines if re.match(r"(\.venv/bin/)?pgferry ", line)]


@pytest.mark.parametrize(
    "command", sorted({command for path in TEXTS for command in commands(path.read_text(encoding="utf-8"))})
)
def test_commands_that_are_shown_are_understood(command: str) -> None:
    words = shlex.split(re.split(r"\s[>|]+\s", command)[0], comments=True)[1:]
    assert cli._parser().parse_args(words).command == words[0]


def test_the_list_of_topics(capsys: pytest.CaptureFixture[str]) -> None:
    assert manual("") == 0
    out = capsys.readouterr().out
    assert all(re.search(rf"^  {topic}\s+{re.escape(page(topic).title)}$", out, re.MULTILINE) for topic in TOPICS)


def test_a_pipe_gets_the_page_as_it_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert manual("copy") == 0
    assert capsys.readouterr().out == (PAGES / "copy.md").read_text(encoding="utf-8")


class Terminal(io.StringIO):
    """What stdout is on a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_a_terminal_without_a_pager_gets_colours_and_no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("PAGER", "no-such-pager")
    monkeypatch.setenv("TERM", "xterm")
    assert manual("copy") == 0
    assert "\x1b[" in screen.getvalue()
    assert "max_lock_waiters" in screen.getvalue()
    assert ".md" not in screen.getvalue()


def test_a_terminal_without_utf8_gets_the_page_as_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(screen, "encoding", "ascii", raising=False)
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "dumb")
    assert manual("copy") == 0
    assert screen.getvalue() == page("copy").text
    assert all(doc.text.isascii() for doc in pages())


def test_a_page_goes_through_the_users_pager(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    pager = tmp_path / "pager"
    pager.write_text(f"#!/bin/sh\ncat > {kept}\n")
    pager.chmod(0o755)
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("PAGER", str(pager))
    monkeypatch.setenv("TERM", "xterm")
    assert manual("sync") == 0
    assert "gate_missed" in kept.read_text(encoding="utf-8")


def test_links_become_their_words() -> None:
    assert without_links("see [the list](../a/b.md) and [x](y)") == "see the list and x"


@pytest.mark.parametrize("width", [60, 80, 100])
@pytest.mark.parametrize("topic", TOPICS)
def test_pages_fit_the_console(topic: str, width: int) -> None:
    lines = doc_lines(page(topic), width, UNICODE)
    assert max(line.cell_len for line in lines) <= width
    words = " ".join(line.plain for line in lines)
    assert "](" not in words
    assert "|---" not in words


def test_a_table_is_drawn_in_columns_whose_cells_wrap() -> None:
    lines = [line.plain.rstrip() for line in doc_lines(page("plan"), 80, UNICODE)]
    start = next(number for number, line in enumerate(lines) if line.startswith(" kind:"))
    assert lines[start].split() == ["kind:", "settings", "passes", "when"]
    assert set(lines[start + 1].strip()) == {UNICODE.rule}
    column = lines[start].index("passes when")
    latency = next(number for number, line in enumerate(lines) if line.startswith(" latency"))
    assert "within the budget" in lines[latency][column:]
    assert lines[latency + 1][: lines[start].index("settings")].strip() == ""


def test_the_title_stands_above_the_page_and_not_in_it_again() -> None:
    lines = [
        line.plain for line in doc_lines(Doc("x", "One `two`", "# One `two`\n\nText with `code  here`.\n"), 40, UNICODE)
    ]
    assert [text.strip() for text in lines if text.strip()] == ["Text with code here."]
    assert "Other" in doc_lines(Doc("x", "One", "# Other\n"), 40, UNICODE)[0].plain


def test_code_and_strong_words_are_bold_and_wrap_with_the_rest() -> None:
    lines = wrapped("say `a-b` and **strong words**, [link](x.md)! " + "w" * 25, 20)
    assert [text.plain for text in lines] == ["say a-b and strong", "words, link!", "w" * 20, "w" * 5]
    bold = {lines[0].plain[span.start : span.end] for span in lines[0].spans if span.style == "key"}
    assert bold == {"a-b", "strong"}
