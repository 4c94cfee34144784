"""Runner, backends, server and postmaster killed at random points, forward and back: it ends as if undisturbed."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.demo.server import EmbeddedServer
from tests.faults.campaign import campaign

KILLS_LONG, SEEDS_LONG = 20, range(100, 110)  # 200 kills


def _on_a_server_of_its_own(server: EmbeddedServer, folder: Path, seed: int, kills: int) -> None:
    durable = server.settings | {"fsync": "on", "full_page_writes": "on"}
    with EmbeddedServer(server.binaries, settings=durable) as own:
        struck = campaign(own, folder, seed, kills)
    assert sum(struck.values()) >= kills * 2 // 3, struck


@pytest.mark.parametrize("seed", [1])
def test_everything_is_killed_and_the_run_ends_as_if_undisturbed(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    _on_a_server_of_its_own(server, tmp_path, seed, kills=7)


@pytest.mark.long
@pytest.mark.parametrize("seed", SEEDS_LONG)
def test_two_hundred_kills(server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    _on_a_server_of_its_own(server, tmp_path, seed, KILLS_LONG)
