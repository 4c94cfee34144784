"""Flyway: V1.2__name.sql, its undo U1.2__name.sql, repeatable R__name.sql, a .conf beside a script.

Flyway puts each script into one transaction, sends the statements of one in which none can run in a transaction one
by one, and refuses a mixture; ``executeInTransaction=false`` in the script's .conf asks for no transaction.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import replace

from console.plan.formats.base import Folder, Ids, Layout, Migration, Reading, left_out, line_at, title_of, way_back
from console.plan.model import Origin, SourceFile
from console.transactions import Transactions

_NAME = re.compile(r"(?:.*/)?(?:([VUB])(\d+(?:[._]\d+)*)|(R))__(.+)\.sql")
_PLACEHOLDER = re.compile(r"^(?![ \t]*--)[^\n]*?(\$\{[^}\n]+\})", re.MULTILINE)  # one in a comment changes nothing
_SETTING = re.compile(r"^[ \t]*(?:flyway\.)?(\w+)[ \t]*[=:][ \t]*(\S+)[ \t]*$", re.MULTILINE)
_SETTINGS = ("executeInTransaction", "placeholderReplacement")
_DO = "Write the value into the file, or set placeholderReplacement=false in {conf} where nothing is to be replaced."


def version_key(version: str) -> tuple[int, ...]:
    """What Flyway compares: the numbers between dots or underscores; 1.10 is above 1.9, and 1 is 1.0."""
    numbers = [int(part) for part in re.split(r"[._]", version)]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def checksum(text: str) -> str:
    """Flyway's checksum of a script: the CRC-32 of its lines without their ends, as a signed number."""
    lines = re.split(r"\r\n|\r|\n", text)
    if lines[-1] == "":
        lines.pop()
    crc = 0
    for line in lines:
        crc = zlib.crc32(line.encode("utf-8"), crc)
    return str(crc - (1 << 32) if crc >= 1 << 31 else crc)


def example(folder: Folder) -> str:
    """A file of this layout."""
    return next((name for name in folder.names if _NAME.fullmatch(name)), "")


def _settings(folder: Folder, name: str) -> dict[str, bool]:
    """The script's own settings that matter here."""
    conf = f"{name}.conf"
    if conf not in folder.names:
        return {}
    found: dict[str, bool] = {}
    source = folder.read(conf)
    for match in _SETTING.finditer(source.text):
        key, value = match.groups()
        if key in _SETTINGS:
            if value.lower() not in ("true", "false"):
                line = line_at(source.text, match.start(2))
                raise folder.fault(f"{key} is {value!r}.", conf, line, do="Write true or false.")
            found[key] = value.lower() == "true"
    return found


def _script(folder: Folder, name: str) -> SourceFile:
    settings = _settings(folder, name)
    source = folder.read(name)
    alone = settings.get("executeInTransaction") is False
    source = replace(source, transactions=Transactions.AS_WRITTEN if alone else Transactions.WHOLE_OR_NONE)
    found = _PLACEHOLDER.search(source.text) if settings.get("placeholderReplacement", True) else None
    if found is None:
        return source
    what = f"Flyway would replace {found.group(1)} here; pgferry runs a file as it stands. {_DO.format(conf=name + '.conf')}"
    return replace(source, fault=what, fault_line=line_at(source.text, found.start(1)))


def read(folder: Folder) -> Reading:
    """Versioned scripts by version, then repeatable ones by description."""
    versioned: dict[tuple[int, ...], tuple[str, str, str]] = {}
    undo: dict[tuple[int, ...], str] = {}
    repeatable: dict[str, str] = {}
    baselines: list[str] = []
    for name in folder.names:
        found = _NAME.fullmatch(name)
        if found is None:
            continue
        kind, version, again, words = found.groups()
        if again:
            other = repeatable.setdefault(words, name)
        elif kind == "B":
            baselines.append(name)
            continue
        elif kind == "U":
            other = undo.setdefault(version_key(version), name)
        else:
            other = versioned.setdefault(version_key(version), (name, version, words))[0]
        if other != name:
            raise folder.fault(f"{other} is the same migration already.", name, do="Give one of them another version.")
    ids = Ids()
    made = [_versioned(folder, ids, *versioned[key], undo.pop(key, "")) for key in sorted(versioned)]
    made += [_repeatable(folder, ids, words, repeatable[words]) for words in sorted(repeatable)]
    strange = [n for n in folder.names if n.endswith(".sql") and not _NAME.fullmatch(n)]
    return Reading(
        tuple(made),
        (
            *left_out(baselines, "baselines for empty databases"),
            *left_out(undo.values(), "an undo without its migration"),
            *left_out(strange, "callbacks, or names that Flyway does not read"),
        ),
    )


def _versioned(folder: Folder, ids: Ids, name: str, version: str, words: str, undo: str) -> Migration:
    up = _script(folder, name)
    back = _script(folder, undo) if undo else None
    down, why = way_back(back, f"U{version}__{words}.sql does not exist")
    shown = version.replace("_", ".")
    origin = Origin(
        shown, words.replace("_", " "), name, checksum(up.text), checksum(back.text) if back is not None else ""
    )
    return Migration(ids.make(f"V{shown}"), title_of(words, name), up, down, why, origin)


def _repeatable(folder: Folder, ids: Ids, words: str, name: str) -> Migration:
    up = _script(folder, name)
    origin = Origin("", words.replace("_", " "), name, checksum(up.text))
    why = "no way back is written (a repeatable migration replaces what was there)"
    return Migration(ids.make(f"R__{words}"), title_of(words, name), up, None, why, origin)


LAYOUT = Layout(
    "flyway",
    "Flyway",
    "each script in one transaction, or in none where no statement of it can run in one;"
    " executeInTransaction=false in its .conf asks for none",
    example,
    read,
)
