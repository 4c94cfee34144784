"""What only psql understands in a file: meta-commands, a byte order mark and COPY data, blanked out of the SQL.

The blanked text has the length and the line ends of the original, so every offset and line number stays true.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NEXT = re.compile(r"--[^\n]*|/\*|\*/|'|\"|\$(?:[^\W\d]\w*)?\$|\\|;")
_COMMENT = re.compile(r"/\*|\*/")
_PLAIN_STRING = re.compile(r"[^']*'")
_ESCAPE_STRING = re.compile(r"(?:[^'\\]|\\.|'')*'", re.DOTALL)
_QUOTED_NAME = re.compile(r'[^"]*"')
_META = re.compile(r"\\([A-Za-z]+|.)?[ \t]*([^\s]*)")
_META_STRINGS = re.compile(r"'(?:[^'\\]|\\.)*'|\"[^\"]*\"")
_COPY_STDIN = re.compile(r"copy\b.*\bfrom\s+stdin\b", re.IGNORECASE | re.DOTALL)
_COPY_END = re.compile(r"^\\\.[ \t\r]*$", re.MULTILINE)

# They print or format, and change nothing that the server sees.
_HARMLESS = frozenset({"echo", "qecho", "warn", "timing", "pset", "x", "t", "a", "H", "conninfo"})
_HARMLESS_VARIABLES = frozenset({"ON_ERROR_STOP", "VERBOSITY", "SHOW_CONTEXT", "QUIET", "ECHO", "ECHO_HIDDEN"})


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in the file that cannot be carried out here: character offset and a clause that says what."""

    offset: int
    what: str


@dataclass(frozen=True, slots=True)
class Clean:
    """SQL without psql's own lines: the text, the offsets of its semicolons, and what was refused."""

    text: str
    semicolons: tuple[int, ...]
    faults: tuple[Fault, ...]


def _skip_comment(text: str, at: int) -> int:
    """The offset after the comment whose ``/*`` ends at ``at``; comments nest."""
    depth = 1
    while depth:
        match = _COMMENT.search(text, at)
        if match is None:
            return len(text)
        depth += 1 if match.group() == "/*" else -1
        at = match.end()
    return at


def _skip_quoted(text: str, match: re.Match[str]) -> int:
    """The offset after the string or quoted name that begins with ``match``."""
    opening, start = match.group(), match.start()
    if opening == '"':
        end = _QUOTED_NAME.match(text, match.end())
    elif opening == "'":
        escapes = text[max(start - 1, 0) : start] in ("e", "E") and not _word(text, start - 2)
        end = (_ESCAPE_STRING if escapes else _PLAIN_STRING).match(text, match.end())
    elif _word(text, start - 1):  # a$b$ is a name
        return match.end() - 1
    else:
        closing = text.find(opening, match.end())
        return len(text) if closing < 0 else closing + len(opening)
    return end.end() if end else len(text)


def _word(text: str, at: int) -> bool:
    return at >= 0 and (text[at].isalnum() or text[at] in "_$")


def _refusal(line: str, first_on_line: bool) -> str:
    """Why this meta-command is refused, or an empty string for a harmless one."""
    match = _META.match(line)
    name, argument = (match.group(1) or "", match.group(2)) if match else ("", "")
    shown = f"the psql command \\{name}"
    rest = _META_STRINGS.sub("", line[1:])
    if not first_on_line:
        return f"{shown} does not stand at the start of a line"
    if "`" in rest or "\\" in rest:
        return f"{shown} runs a program or another command on its line"
    if name in _HARMLESS or (name in ("set", "unset") and argument in _HARMLESS_VARIABLES):
        return ""
    return f"{shown} is not carried out here"


def _blank(text: str) -> str:
    return re.sub(r"[^\r\n]", " ", text)


def clean(text: str) -> Clean:
    """``text`` with everything that is psql's replaced by blanks. Never raises."""
    pieces: list[str] = []
    semicolons: list[int] = []
    faults: list[Fault] = []
    kept = at = 0
    statement = 0  # where the statement that is being read may begin
    if text.startswith("\ufeff"):
        pieces.append(" ")
        kept = at = statement = 1
    while (match := _NEXT.search(text, at)) is not None:
        found, start = match.group(), match.start()
        at = match.end()
        if found == "/*":
            at = _skip_comment(text, at)
        elif found[0] in "'\"$":
            at = _skip_quoted(text, match)
        elif found == "\\":
            end = text.find("\n", start)
            end = len(text) if end < 0 else end
            first = not text[text.rfind("\n", 0, start) + 1 : start].strip(" \t\ufeff")
            if why := _refusal(text[start:end], first):
                faults.append(Fault(start, why))
            pieces += [text[kept:start], _blank(text[start:end])]
            kept = at = end
        elif found == ";":
            semicolons.append(start)
            if _COPY_STDIN.match(text, skip_blank(text, statement), start):
                ending = _COPY_END.search(text, at)
                end = ending.end() if ending else len(text)
                pieces += [text[kept:at], _blank(text[at:end])]
                kept = at = end
            statement = at
    pieces.append(text[kept:])
    return Clean("".join(pieces), tuple(semicolons), tuple(faults))


def skip_blank(text: str, at: int) -> int:
    """The offset of the first character at or after ``at`` that is neither white space nor in a comment."""
    while at < len(text):
        if text[at].isspace():
            at += 1
        elif text.startswith("--", at):
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
        elif text.startswith("/*", at):
            at = _skip_comment(text, at + 2)
        else:
            break
    return at
