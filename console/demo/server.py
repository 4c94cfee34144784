"""An embedded PostgreSQL server: made, started, stopped and cleaned up by this process, as root too.

The server is reached through a Unix socket in a folder of mode 0700, so that ``trust`` trusts only this user.
It never outlives this process: see ``console.demo.watch``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from console.demo import watch
from console.demo.binaries import Binaries, find_binaries
from console.errors import ConnectionFailed, FerryError
from console.text import plain

__all__ = ["DEMO_SETTINGS", "Binaries", "EmbeddedServer", "find_binaries"]

SUPERUSER = "postgres"
# For the demo: room to work, and durable as a server should be.
DEMO_SETTINGS = {"shared_buffers": "256MB", "max_wal_size": "2GB"}
_SOCKET_PORT = 5432
_SOCKET_PATH_LIMIT = 103  # bytes of sun_path on macOS; Linux allows 107
_START_S = 60.0
_STOP_S = 30.0
_STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
_LOG_LINES = 6


@dataclass(frozen=True, slots=True)
class _Account:
    """The account that the server runs as; ``switch`` holds the arguments for subprocess, empty for our own."""

    name: str
    uid: int
    gid: int
    switch: Mapping[str, Any]


def _account() -> _Account:
    """Ourselves, or an unprivileged account when we are root: postgres refuses to run as root."""
    if os.geteuid() != 0:
        return _Account("", os.geteuid(), os.getegid(), {})
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            switch = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": ()}
            return _Account(name, entry.pw_uid, entry.pw_gid, switch)
    raise FerryError(
        "PostgreSQL does not run as root, and this machine has neither a user postgres nor a user nobody.",
        do="Run the command as an ordinary user.",
    )


def _environment() -> dict[str, str]:
    """Our environment without libpq's and the server's variables, which would steer the embedded server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


class EmbeddedServer:
    """One PostgreSQL server, started as a child of this process.

    ``data_dir`` is a folder that stays and is reused (it holds ``data``, ``postgres.log`` and, when needed, a copy
    of the programs); with None everything is temporary and removed by ``close``. ``settings`` are server settings
    by name. With ``tcp_port`` the server also listens on 127.0.0.1, else on the socket alone.
    ``stop`` and ``start`` may be repeated; ``close``, or leaving the ``with`` block, also cleans up.
    """

    def __init__(
        self,
        binaries: Binaries,
        data_dir: Path | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        tcp_port: int | None = None,
    ) -> None:
        self.binaries = binaries
        self.settings = dict(settings or {})
        self.port = tcp_port or _SOCKET_PORT
        self._tcp = tcp_port is not None
        self._keep = data_dir.absolute() if data_dir else None
        self._account = _account()
        self._programs = binaries.dir
        self._run: Path | None = None  # the temporary folder: socket, and the data where it does not stay
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    @property
    def home(self) -> Path:
        """The folder that holds ``data`` and ``postgres.log``."""
        return self._keep or self._runtime

    @property
    def data_dir(self) -> Path:
        """PostgreSQL's data directory."""
        return self.home / "data"

    @property
    def log_file(self) -> Path:
        """The server's log."""
        return self.home / "postgres.log"

    @property
    def socket_dir(self) -> Path:
        """The folder of the Unix socket."""
        return self._runtime / "socket"

    @property
    def pid(self) -> int | None:
        """The server's process id, None when it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def _runtime(self) -> Path:
        if self._run is None:
            raise FerryError("The embedded server was not started.", do="Call start() first.")
        return self._run

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the server, making its data directory first when there is none; returns when it takes connections.

        Raises FerryError with the end of the server's log when it does not start.
        """
        if self.pid is not None:
            return
        try:
            self._prepare()
            self._launch()
            self._wait_until_ready()
        except BaseException:
            self.close()
            raise

    def stop(self, mode: str = "fast") -> None:
        """Stop the server: ``smart``, ``fast`` or ``immediate`` as in pg_ctl. The data stays until ``close``."""
        process = self._process
        if process is None:
            return
        for number in (_STOP_SIGNALS[mode], signal.SIGQUIT, signal.SIGKILL):
            if process.poll() is None:
                process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_S)
                break
        self._process = None

    def kill(self) -> None:
        """SIGKILL the postmaster, as the out-of-memory killer would; ``start`` recovers."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self, mode: str = "fast") -> None:
        """Stop in that mode and start again on the same data and address."""
        self.stop(mode)
        self.start()

    def restart_immediately(self) -> None:
        """Crash every session and start again: what a power cut and its recovery look like to a client."""
        self.restart("immediate")

    def close(self) -> None:
        """Stop the server and remove everything that is temporary. Harmless when done already."""
        self.stop("fast" if self._keep else "immediate")
        if self._watcher and self._watcher.stdin:
            self._watcher.stdin.close()
            self._watcher.wait()
        self._watcher = None
        if self._run:
            shutil.rmtree(self._run, ignore_errors=True)
            self._run = None

    def conninfo(self, dbname: str = "postgres") -> str:
        """A libpq connection string for a database of this server, through the socket."""
        return make_conninfo(host=str(self.socket_dir), port=self.port, user=SUPERUSER, dbname=dbname)

    def create_database(self, name: str) -> str:
        """Create a database and return its connection string. Raises psycopg.Error when it exists."""
        with psycopg.connect(self.conninfo(), autocommit=True) as conn:
            conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.conninfo(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, ending its sessions. Nothing happens when it does not exist."""
        with psycopg.connect(self.conninfo(), autocommit=True) as conn:
            conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _prepare(self) -> None:
        """Make folders, watcher and data directory, whichever do not exist yet."""
        if self._run is None:
            self._run = self._make_runtime()
            self._give(self._run)
            self.socket_dir.mkdir(mode=0o700)
            self._give(self.socket_dir)
            if self._keep:
                self._make_keep(self._keep)
            self._programs = self._reachable_programs()
            self._watcher = self._start_watcher()
        version_file = self.data_dir / "PG_VERSION"
        if not version_file.exists():
            self._initdb()
        elif (version := version_file.read_text(encoding="utf-8").strip()) != str(self.binaries.major):
            raise FerryError(
                f"The data in {self.home} was made by PostgreSQL {version}; this is {self.binaries.version}.",
                state="Nothing was changed.",
                do=f"Choose another folder, or install PostgreSQL {version}.",
            )

    def _make_runtime(self) -> Path:
        """A fresh temporary folder whose socket path is short enough and which the server's account can reach."""
        for parent in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")):  # noqa: S108 (mkdtemp follows)
            length = len(os.fsencode(parent)) + len(f"/pgferry-12345678/socket/.s.PGSQL.{self.port}")
            if length <= _SOCKET_PATH_LIMIT and self._reaches(Path(parent)):
                return Path(tempfile.mkdtemp(prefix="pgferry-", dir=parent))
        raise FerryError("No temporary folder is short and open enough for a socket.", do="Set TMPDIR to /tmp.")

    def _give(self, path: Path) -> None:
        if self._account.switch:
            os.chown(path, self._account.uid, self._account.gid)

    def _reaches(self, folder: Path) -> bool:
        """Whether the server's account can reach a folder that exists."""
        test = ["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)]
        return subprocess.run(test, cwd="/", check=False, capture_output=True, **self._account.switch).returncode == 0

    def _make_keep(self, folder: Path) -> None:
        """Make the folder that stays, unless the server's account could not reach it."""
        existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
        if not self._reaches(existing):
            raise FerryError(
                f"The folder {folder} cannot be reached by the user {self._account.name},"
                " as which PostgreSQL runs when you are root.",
                state="Nothing was changed.",
                do="Choose a folder outside root's home, for instance under /var/tmp.",
            )
        if existing != folder:
            folder.mkdir(mode=0o700, parents=True)
            self._give(folder)

    def _reachable_programs(self) -> Path:
        """The programs' folder; a copy of the installation where the server's account cannot run the original."""
        try:
            test = [str(self.binaries.dir / "postgres"), "--version"]
            subprocess.run(test, cwd="/", check=True, capture_output=True, **self._account.switch)
        except (OSError, subprocess.CalledProcessError) as error:
            if not self._account.switch or getattr(error, "errno", None) == errno.EPERM:
                raise FerryError(
                    f"PostgreSQL's programs in {self.binaries.dir} cannot be run: {error}.",
                    do="Run the command as an ordinary user, or install PostgreSQL's server package.",
                ) from error
        else:
            return self.binaries.dir
        return _copy_installation(self.binaries.dir.parent, self.home / f"postgresql-{self.binaries.version}") / "bin"

    def _start_watcher(self) -> subprocess.Popen[bytes]:
        number = signal.SIGINT if self._keep else signal.SIGQUIT
        command = [sys.executable, "-I", "-S", watch.__file__, str(self.data_dir), str(int(number)), str(self._run)]
        # Its own session: a terminal's Ctrl-C or hang-up must reach us, not the watcher.
        return subprocess.Popen(command, stdin=subprocess.PIPE, cwd="/", start_new_session=True)

    def _initdb(self) -> None:
        """Make the data directory, with locale C.UTF-8 or, where the system lacks that, C."""
        done = None
        for locale in ("C.UTF-8", "C"):
            command = [str(self._programs / "initdb"), "-D", str(self.data_dir), "-U", SUPERUSER, "-A", "trust"]
            # Code point order is byte order in UTF-8, and comparing bytes is several times faster.
            command += ["--encoding=UTF8", f"--locale={locale}", "--lc-collate=C", "--no-sync", "--no-instructions"]
            if not self.data_dir.exists():
                self.data_dir.mkdir(mode=0o700)
                self._give(self.data_dir)
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                errors="replace",
                cwd=self.home,
                env=_environment(),
                start_new_session=True,
                check=False,
                **self._account.switch,
            )
            if done.returncode == 0:
                return
            if "locale" not in done.stderr:
                break
        text = _last_lines(done.stderr) if done else ""
        raise FerryError(f"A database cluster could not be made in {self.data_dir}: {text}")

    def _launch(self) -> None:
        settings = {
            "unix_socket_directories": str(self.socket_dir),
            "unix_socket_permissions": "0700",
            "listen_addresses": "127.0.0.1" if self._tcp else "",
            "port": str(self.port),
            **self.settings,
        }
        command = [str(self._programs / "postgres"), "-D", str(self.data_dir)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.home,
                env=_environment(),
                start_new_session=True,
                **self._account.switch,
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self.pid is not None:
            try:
                psycopg.connect(self.conninfo(), connect_timeout=5).close()
            except psycopg.OperationalError:
                time.sleep(0.02)
            else:
                return
        ended = "ended" if self.pid is None else f"was not ready within {_START_S:.0f} s"
        text = _last_lines(self.log_file.read_text(encoding="utf-8", errors="replace"))
        raise ConnectionFailed(
            f"The embedded PostgreSQL {self.binaries.version} {ended}.", state=f"Its log says: {text}"
        )


def _copy_installation(original: Path, folder: Path) -> Path:
    """Copy an installation into a folder, unless it is there already, and return the copy.

    A wheel's programs find their libraries in ``<package>.libs`` beside the package, so that layout is kept.
    """
    package = original.parent
    copy = folder / package.name / original.name
    if not (copy / "bin" / "postgres").exists():
        libraries = package.with_name(package.name + ".libs")
        if libraries.is_dir():
            shutil.copytree(libraries, folder / libraries.name, symlinks=True, dirs_exist_ok=True)
        for part in ("lib", "share", "bin"):
            shutil.copytree(original / part, copy / part, symlinks=True, dirs_exist_ok=True)
    return copy


def _last_lines(text: str) -> str:
    """The end of a log as one line, safe to print."""
    return " | ".join(plain(line) for line in text.strip().splitlines()[-_LOG_LINES:])
