"""Screens must not depend on the developer's terminal, and reports of failed snapshots must not carry secrets."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

for _name in list(os.environ):  # before textual is imported: it reads some of them only then
    if _name == "TEXTUAL_SNAPSHOT_TEMPDIR":  # the snapshot plugin's own, set before this file is read in a whole run
        continue
    if _name in ("NO_COLOR", "COLORTERM", "TERM", "TMUX") or _name.startswith(("SSH_", "TEXTUAL_")):
        del os.environ[_name]

import pytest  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    """The report lists every environment variable: keep it out of the checkout."""
    if getattr(config.option, "snapshot_report", None) == "snapshot_report.html":
        config.option.snapshot_report = str(Path(tempfile.gettempdir()) / "pgferry_snapshot_report.html")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files the console writes go to the test's own folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
