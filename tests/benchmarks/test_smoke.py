"""Every benchmark in small: each figure is there and is a number. Their worth is for ``python -m tests.benchmarks``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.demo.server import EmbeddedServer
from tests.benchmarks import __main__ as command
from tests.benchmarks import backfill, console, cores, preview, traffic, triggers, validation, whole_run
from tests.benchmarks.ground import Ground, lay
from tests.benchmarks.lines import Line, line, printed, ratio
from tests.benchmarks.policies import P90, Efficiency, Fixed

ROWS = 3_000


@pytest.fixture(scope="module")
def ground(server: EmbeddedServer) -> Iterator[Ground]:
    yield lay(server, "benchmark_smoke", ROWS)
    server.drop_database("benchmark_smoke")


def positive(lines: list[Line]) -> dict[str, dict[str, float]]:
    """The figures by name, every one of them there and above zero."""
    for found in lines:
        assert found.finite, found
        assert all(value > 0 for value in found.figures.values()), found
    return {found.name: found.figures for found in lines}


def test_the_copy_is_measured_against_its_limit_and_every_policy(ground: Ground) -> None:
    found = positive(backfill.measure(ground, 1))
    hands = (backfill.ONE, backfill.TWO)
    unhashed = [name + backfill.UNHASHED for name in hands]
    ours = {*hands, *unhashed, "fixed 1,000 rows", "efficiency 0.90-0.95", "p90 of the batch"}
    assert set(found) == {backfill.LIMIT, *ours, "in place, trigger, 1,000 rows"}
    assert all(
        found[name].keys() == {"rows/s", "of the limit", "by CPU", "all with indexes", "x in place"} for name in ours
    )
    # The limit takes the same rows as the copy, but for the twins whose spelling is not the exchange's own.
    good = ground.one("SELECT count(*) FROM book_ticker_snapshots_v2")
    assert 0.99 * ROWS < good <= ROWS


def test_the_writers_cost_and_the_comparison_are_measured(ground: Ground) -> None:
    rows = ground.one("SELECT count(*) FROM book_ticker_snapshots")
    found = triggers.measure(ground, 1, scale=50)
    assert [one.name for one in found] == [f"{work}, {state}" for work in triggers.WORK for state in triggers.STATES]
    assert all(one.figures["us/row"] > 0 and one.figures["x none"] > 0 for one in found)
    assert ground.one("SELECT count(*) FROM book_ticker_snapshots") == rows, "what it wrote is gone again"
    assert ground.one("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'zz_pgferry%'") == 0
    assert set(positive(validation.measure(ground, 1))) == {validation.READ, validation.OURS}


def test_the_traffics_latencies_are_measured_at_each_speed(ground: Ground) -> None:
    name = traffic.APART if cores.apart() else "copy at 55,000 rows/s"
    speeds = {name: {"max_rows_per_second": 1_500, "batch_rows": 300}}
    found = positive(traffic.measured(ground, 1, 0.5, 200, speeds, module=traffic.SINGLE, called="single rows, "))
    names = ("at rest", "sync on, no copy", *speeds)
    assert set(found) == {f"single rows, {name}" for name in names}
    assert found["single rows, at rest"]["p99 x rest"] == 1


def test_a_whole_run_has_its_stalls_and_its_memory(server: EmbeddedServer) -> None:
    lines = whole_run.measure(server, ROWS, 1, seconds=1.0, rate=200, until="P1.1.5")
    stalls = {found.name: found for found in lines if found.group == whole_run.STALLS}
    kinds = ("sql", "check")
    assert set(stalls) == {
        "the same traffic, no migration",
        *(f"{way}, every {kind}" for way in ("forward", "back") for kind in kinds),
    }
    assert all(found.finite for found in lines)
    assert stalls["forward, every sql"].figures["worst ms"] > 0
    memory = {found.name: found.figures["MB"] for found in lines if found.group == whole_run.MEMORY}
    assert set(memory) == {"runner, forward", "runner, back"}
    assert all(megabytes > 5 for megabytes in memory.values())


def test_policies_size_batches_as_they_are_published() -> None:
    fixed, optimiser, p90 = Fixed(), Efficiency(), P90()
    for policy in (fixed, optimiser, p90):
        policy.feed(1_000, 10)
    assert fixed.rows == 1_000
    assert optimiser.rows == 1_200, "a fifth at most"
    assert p90.rows == 1_000, "not before more than ten chunks"
    for _ in range(10):
        p90.feed(1_000, 10)
    assert p90.rows == 1_500, "half at most"
    p90.feed(1_500, 501)
    assert p90.rows == 150
    held = Efficiency(rows=5_000)
    held.feed(5_000, 92)
    assert held.rows == 5_000, "within 0.90 and 0.95 nothing changes"
    held.feed(5_000, 400)
    smoothed = (4.0 + 0.6 * 0.92) / 1.6
    assert held.rows == int(5_000 * 0.95 / smoothed), "it shrinks freely"


def test_lines_are_medians_with_their_spread() -> None:
    one = line("a", 1_000, "x", {"rows/s": [1.0, 3.0, 2.0], "ratio": ratio([1, 2, 3], [2, 2, 0])}, ">= 2")
    assert one.figures["rows/s"] == 2.0
    assert one.spread["rows/s"] == (1.0, 3.0)
    assert not one.finite, "a ratio to nothing is no number"
    text = printed([one])
    assert "2.00 (1.00-3.00)" in text
    assert ">= 2" in text


def test_the_command_writes_what_it_prints(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Same:
        """The tests' server, in the place of one of its own."""

        def __enter__(self) -> EmbeddedServer:
            return server

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(command, "server", Same)
    path = tmp_path / "figures.json"
    assert command.main(["--rows", "1_000", "--only", "validation", "--repeats", "1", "--json", str(path)]) == 0
    data = json.loads(path.read_text())
    assert [found["name"] for found in data["lines"]] == [validation.READ, validation.OURS]
    assert data["settings"]["fsync"] == "on"
    assert validation.OURS in capsys.readouterr().out
    with pytest.raises(SystemExit):
        command.main(["--only", "nonsense"])


def test_the_preview_of_a_long_plan_is_measured(server: EmbeddedServer) -> None:
    found = positive(list(preview.measure(server, 1, files=3, tables=20)))
    assert set(found) == {preview.LOAD, preview.FIRST, preview.ALL, preview.DATABASE}


@pytest.mark.long  # what it uses is tested without it
def test_the_console_is_measured(server: EmbeddedServer) -> None:
    found = {one.name: one for one in console.measure(server, 1, seconds=0.3, pause=0.2)}
    assert set(found) == {*console.WORDS, console.FIRST, console.LOCAL, console.FAR, "bytes, 80x24", "bytes, 120x40"}
    assert all(one.finite for one in found.values())
    assert found[console.LOCAL].figures["ms"] > 0
    assert found["bytes, 80x24"].figures["first B"] > 1_000
