"""The README's pictures: whole, of no machine in particular, all shown; and the run they come from can be had again."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NAMES = ("tasks", "preview", "backfill", "checks", "activity", "rollback", "replay")


def look_at(picture: Path) -> str:
    """The words of a picture, seen to name no machine and no folder and to fetch nothing."""
    source = picture.read_text(encoding="utf-8")
    root = ElementTree.fromstring(source)
    words = " ".join(item.text or "" for item in root.iter("{http://www.w3.org/2000/svg}text"))
    assert socket.gethostname() not in words
    assert not re.search(r"(?<![\w/])/(?:tmp|home|root|var|work|Users)\b", words)
    assert not re.search(r"href|url\(|@import|<script|<image", source)
    return words


@pytest.mark.parametrize("name", NAMES)
def test_each_is_whole_and_shown(name: str) -> None:
    words = look_at(HERE / f"{name}.svg")
    assert "cex_arbitrage" in words
    assert f"(tests/pictures/{name}.svg)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_none_is_left_over() -> None:
    assert {path.stem for path in HERE.glob("*.svg")} == set(NAMES)


@pytest.mark.long
def test_they_can_be_drawn_again(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.pictures", "--folder", str(tmp_path), "--rows", "300000", "--traffic", "50"],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shown = {path.stem: look_at(path) for path in tmp_path.glob("*.svg")}
    assert set(shown) == set(NAMES)
    assert "held back by waiting sessions" in shown["backfill"]
    assert "nightly-report" in shown["activity"]
    assert "3 changed" in shown["checks"]
    assert "replay stopped" in shown["replay"]
