"""A watcher beside the embedded server: when its parent is gone, it stops the server and removes what is temporary.

Run as ``python -I -S watch.py DATA_DIR SIGNAL [FOLDER...]`` with a pipe as standard input that only the parent
holds open. The kernel closes the pipe however the parent ends, SIGKILL included. Only the standard library.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

_PATIENCE_S = 30.0


def server_pid(data_dir: Path) -> int | None:
    """The process id in ``postmaster.pid``, None when no server runs there."""
    try:
        return int((data_dir / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def stop_server(data_dir: Path, number: int) -> None:
    """Send the signal to the server of a data directory and wait until its lock file is gone, at most 30 s."""
    pid = server_pid(data_dir)
    if pid is None:
        return
    try:
        os.kill(pid, number)
        deadline = time.monotonic() + _PATIENCE_S
        while server_pid(data_dir) == pid and time.monotonic() < deadline:
            time.sleep(0.02)
            os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return


def main(arguments: list[str]) -> None:
    """Wait for the end of standard input, then stop the server and remove the folders."""
    data_dir, number, *folders = arguments
    # The terminal's signals are meant for the parent; ours is the end of the pipe.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    while os.read(0, 1):
        pass
    stop_server(Path(data_dir), int(number))
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
