"""The console on a line: milliseconds to the first screen and from key to answer, bytes a second; and how soon words come."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence

from console.demo.server import EmbeddedServer
from tests.benchmarks.lines import Line, line
from tests.tui.terminals import ROOT, SSH, Session, console

SCREENS = {"tasks": "1", "preview": "2", "backfill": "3", "checks": "4", "activity": "5", "log": "6", "rollback": "u"}
SIZES = {(80, 24): "<= 1,500 B/s", (120, 40): "<= 2,500 B/s"}
SLOW = 8_000.0  # bytes a second
KEYS = (("6", "throttle dba"), ("1", "P3.1.2"), ("3", "tried again"), ("1", "P3.1.2"))
WORDS = {"--version": ["--version"], "--help": ["--help"], "status": ["status"]}
IMPORTS = "import tests.tui.busy, console.tui.app"
SOON = "<= 200 ms over python"
FIRST = "first screen"
LOCAL = "key to answer, here"
FAR = "key to answer, copy runs, 8 kB/s"


def measure(running: EmbeddedServer, repeats: int, *, seconds: float = 4.0, pause: float = 1.5) -> Iterable[Line]:
    """``seconds`` of traffic on each screen; ``pause`` between keys on the slow line."""
    bare = [_ms(["-c", "pass"]) for _ in range(repeats)]
    name = "console_words"
    dsn = running.create_database(name)
    for what, words in WORDS.items():
        given = [*words, "--dsn", dsn] if what == "status" else words
        yield _compared(what, [_ms(["-m", "console", *given]) for _ in range(repeats)], bare, SOON)
    running.drop_database(name)
    imports = [_ms(["-c", IMPORTS]) for _ in range(repeats)]
    first = [_first_screen() for _ in range(repeats)]
    yield _compared(FIRST, first, imports, "<= 400 ms over imports")
    yield line("console", 0, LOCAL, {"ms": _answers(repeats, 0.0, "CannedWorld", 0.1)}, "<= 50 ms")
    yield line("console", 0, FAR, {"ms": _answers(repeats, SLOW, "BusyWorld", pause)}, "<= 300 ms")
    for size, aim in SIZES.items():
        yield _traffic(size, aim, seconds)


Took = tuple[float, float]  # milliseconds by the clock, and of processor time


def _compared(what: str, took: Sequence[Took], base: Sequence[Took], aim: str) -> Line:
    """Both clocks, and how much more than ``base`` by each: only processor time means something on a busy machine."""
    over = [(one[0] - other[0], one[1] - other[1]) for one, other in zip(took, base, strict=True)]
    figures = {
        "ms": [ms for ms, _ in took], "over": [ms for ms, _ in over], "CPU over": [used for _, used in over],
    }  # fmt: skip
    return line("console", 0, what, figures, aim)


def _used() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (spent.ru_utime + spent.ru_stime) * 1000


def _ms(words: list[str]) -> Took:
    began, used = time.perf_counter(), _used()
    subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, check=False)
    return (time.perf_counter() - began) * 1000, _used() - used


def _first_screen() -> Took:
    began = time.perf_counter()
    with console("CannedWorld", env=SSH) as session:
        session.shows("help")
        return (time.perf_counter() - began) * 1000, session.cpu() * 1000


def _answers(repeats: int, rate: float, world: str, pause: float) -> list[float]:
    """Milliseconds from each key until its screen stands there."""
    taken = []
    with console(world, rate=rate, env=SSH) as session:
        session.shows("help")
        for key, words in KEYS * repeats:
            time.sleep(pause)
            assert words not in session.screen()
            taken.append(_answer(session, key, words))
    return taken


def _answer(session: Session, key: str, words: str) -> float:
    began = time.perf_counter()
    session.press(key)
    while words not in session.screen():
        time.sleep(0.001)
    return (time.perf_counter() - began) * 1000


def _traffic(size: tuple[int, int], aim: str, seconds: float) -> Line:
    """Bytes of the first screen, and the most of any screen in a second, where everything changes each second."""
    most = []
    with console("BusyWorld", size=size, env=SSH) as session:
        session.shows("help")
        session.quiet(0.2)
        first = session.total
        for key in SCREENS.values():
            session.press(key)
            session.quiet(0.1)
            before, began = session.total, time.perf_counter()
            time.sleep(seconds)
            most.append((session.total - before) / (time.perf_counter() - began))
    figures = {"first B": [float(first)], "B/s": [max(most)]}
    return line("console", 0, f"bytes, {size[0]}x{size[1]}", figures, aim)
