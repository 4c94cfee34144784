"""The shipped plan's performance gate: what is slow every time fails it, what others made slow once does not."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

CHECKS = Path(__file__).resolve().parents[2] / "checks"


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The script's names, without it being run."""
    monkeypatch.syspath_prepend(str(CHECKS))
    monkeypatch.syspath_prepend(str(CHECKS.parent / "migrations"))
    import support

    monkeypatch.setattr(support, "run", lambda main: None)
    return runpy.run_path(str(CHECKS / "performance_gate.py"))


def figures(gate: dict[str, Any], latest_ms: float) -> dict[tuple[str, str], Any]:
    """The normalised shape's latest ticker takes so long, everything else 1 ms."""
    times = {
        (operation, shape): 1.0 for operation in (gate["LATEST"], gate["INSERT"]) for shape in ("legacy", "normalised")
    }
    times[gate["LATEST"], "normalised"] = latest_ms
    return {key: gate["Times"](360, ms, ms, ms) for key, ms in times.items()}


@pytest.mark.parametrize(
    ("latest", "measured", "slow"),
    [((1.0,), 1, []), ((9.0, 1.0), 2, []), ((9.0, 9.0, 1.3), 3, []), ((9.0, 9.0, 9.0), 3, ["latest ticker"])],
    ids=["at once", "the second time", "the last time", "never"],
)
def test_it_is_measured_again_and_no_more_than_three_times(
    gate: dict[str, Any], latest: tuple[float, ...], measured: int, slow: list[str]
) -> None:
    left = [figures(gate, ms) for ms in latest]
    baselines = {gate["LATEST"]: None, gate["INSERT"]: None}
    number, times = gate["attempts"](lambda: left.pop(0), baselines)
    assert number == measured
    assert left == []
    assert gate["slower_ones"](times, baselines) == slow
