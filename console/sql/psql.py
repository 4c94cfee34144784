"""What only psql understands in a file: meta-commands, a byte order mark and COPY data, blanked out of the SQL.

The blanked text has the length and the line ends of the original, so every offset and line number stays true.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import postgast
from google.protobuf.message import DecodeError

from console.sql.grammar import parse

SPACE = " \t\n\r\f\v"  # what PostgreSQL's scanner passes over; other blanks of Unicode are letters to it
_LETTER = "A-Za-z_\\x80-\\U0010ffff"
_NEXT = re.compile(rf"--[^\r\n]*|/\*|\*/|'|\"|\$(?:[{_LETTER}][{_LETTER}0-9]*)?\$|\\|;")
_COMMENT = re.compile(r"/\*|\*/")
_PLAIN_STRING = re.compile(r"[^']*'")
_ESCAPE_STRING = re.compile(r"(?:[^'\\]|\\.|'')*'", re.DOTALL)
_QUOTED_NAME = re.compile(r'[^"]*"')
# A string goes on after a line end, in the form that it began in.
_CONTINUED = re.compile(r"(?:[ \t\f\v]|--[^\r\n]*)*[\r\n](?:[ \t\r\n\f\v]|--[^\r\n]*[\r\n])*'")
_BLANKS = re.compile(r"(?:[ \t\r\n\f\v]+|--[^\r\n]*)+")
_VARIABLE = re.compile(r"(?<![:\w])(:(?:[A-Za-z_]\w*|'\w+'|\"\w+\"|\{\?\w+\}))")
_STRINGS = re.compile(r"'[^']*'")
_META = re.compile(r"\\([A-Za-z]+|.)?[S+]*[ \t]*([^\s]*)[ \t]*([^\s]*)")
_META_STRINGS = re.compile(r"'(?:[^'\\]|\\.)*'|\"[^\"]*\"")
_COPY_STDIN = re.compile(r"copy\b.*\bstd(?:in|out)\b", re.IGNORECASE | re.DOTALL)
_COPY_END = re.compile(r"^\\\.[ \t\r]*$", re.MULTILINE)

# They print, format or describe, and change nothing that the server sees; pg_dump writes restrict around its output.
_HARMLESS = frozenset(
    """
    a C conninfo copyright echo errverbose f h H help l p qecho restrict sf sv t T timing unrestrict warn x z
    pset
    """.split()  # noqa: SIM905
)
_DESCRIBES = re.compile(r"d[a-zA-Z]{0,6}\Z")
_COMMENT_DEPTH = 1000
_HARMLESS_VARIABLES = frozenset({"ON_ERROR_STOP", "VERBOSITY", "SHOW_CONTEXT", "QUIET", "ECHO", "ECHO_HIDDEN"})


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in the file that cannot be carried out here: character offset and a clause that says what."""

    offset: int
    what: str


@dataclass(frozen=True, slots=True)
class Clean:
    """SQL without psql's own lines: the text, the offsets of its semicolons, what was refused and what passed over."""

    text: str
    semicolons: tuple[int, ...]
    faults: tuple[Fault, ...]
    passed: tuple[Fault, ...]


def _comment(text: str, at: int) -> tuple[int, int]:
    """The offset after the comment whose ``/*`` ends at ``at``, and how deep comments nest in it."""
    depth = deepest = 1
    while depth:
        match = _COMMENT.search(text, at)
        if match is None:
            return len(text), deepest
        depth += 1 if match.group() == "/*" else -1
        deepest = max(deepest, depth)
        at = match.end()
    return at, deepest


def _skip_quoted(text: str, match: re.Match[str]) -> int:
    """The offset after the string or quoted name that begins with ``match``."""
    opening, start = match.group(), match.start()
    if opening == '"':
        end = _QUOTED_NAME.match(text, match.end())
    elif opening == "'":
        escapes = text[max(start - 1, 0) : start] in ("e", "E") and not _word(text, start - 2)
        form = _ESCAPE_STRING if escapes else _PLAIN_STRING
        end = form.match(text, match.end())
        while end and (more := _CONTINUED.match(text, end.end())):
            end = form.match(text, more.end())
    elif _word(text, start - 1):  # a$b$ is a name
        return match.end() - 1
    else:
        closing = text.find(opening, match.end())
        return len(text) if closing < 0 else closing + len(opening)
    return end.end() if end else len(text)


def _word(text: str, at: int) -> bool:
    return at >= 0 and (text[at] >= "\x80" or text[at].isalnum() or text[at] in "_$")


def _refusal(line: str, first_on_line: bool) -> str:
    """Why this meta-command is refused, or an empty string for a harmless one."""
    match = _META.match(line)
    name, argument, value = (match.group(1) or "", match.group(2), match.group(3)) if match else ("", "", "")
    shown = f"the psql command \\{name}"
    rest = _META_STRINGS.sub("", line[1:])
    if not first_on_line:
        return f"{shown} does not stand at the start of a line"
    if "`" in rest or "\\" in rest:
        return f"{shown} runs a program or another command on its line"
    if name in _HARMLESS or _DESCRIBES.match(name):
        return ""
    if name in ("set", "unset") and argument in _HARMLESS_VARIABLES:
        goes_on = argument == "ON_ERROR_STOP" and (name == "unset" or value.lower() in ("off", "0", "false", "no"))
        return "the file asks to go on after an error, which is never done here" if goes_on else ""
    return f"{shown} is not carried out here"


def _blank(text: str) -> str:
    return re.sub(r"[^\r\n]", " ", text)


def clean(text: str) -> Clean:
    """``text`` with everything that is psql's replaced by blanks. Never raises."""
    pieces: list[str] = []
    semicolons: list[int] = []
    faults: list[Fault] = []
    passed: list[Fault] = []
    kept = at = 0
    statement = 0  # where the statement that is being read may begin
    if text.startswith("\ufeff"):
        pieces.append(" ")
        kept = at = statement = 1
    while (match := _NEXT.search(text, at)) is not None:
        found, start = match.group(), match.start()
        at = match.end()
        if found == "/*":
            at, depth = _comment(text, at)
            if depth > _COMMENT_DEPTH:
                faults.append(Fault(start, f"comments are nested more than {_COMMENT_DEPTH} deep"))
                pieces += [text[kept:start], _blank(text[start:at])]
                kept = at
        elif found[0] in "'\"$":
            at = _skip_quoted(text, match)
        elif found == "\\":
            end = text.find("\n", start)
            end = len(text) if end < 0 else end
            first = not text[text.rfind("\n", 0, start) + 1 : start].strip(" \t\ufeff")
            if why := _refusal(text[start:end], first):
                faults.append(Fault(start, why))
            else:
                passed.append(Fault(start, text[start:end].strip()))
            pieces += [text[kept:start], _blank(text[start:end])]
            kept = at = end
        elif found == ";":
            semicolons.append(start)
            if _carries_data(text, skip_blank(text, statement), start):
                ending = _COPY_END.search(text, at)
                end = ending.end() if ending else len(text)
                pieces += [text[kept:at], _blank(text[at:end])]
                kept = at = end
            statement = at
    pieces.append(text[kept:])
    return Clean("".join(pieces), tuple(semicolons), tuple(faults), tuple(passed))


def passed_over(text: str) -> tuple[tuple[int, str], ...]:
    """psql's commands in ``text`` that only print or format, and are left out: line (1-based) and words."""
    return tuple((text.count("\n", 0, found.offset) + 1, found.what) for found in clean(text).passed)


def _carries_data(text: str, start: int, end: int) -> bool:
    """Whether the statement is COPY ... FROM STDIN, after which the file holds rows."""
    if not _COPY_STDIN.match(text, start, end):
        return False
    try:
        (raw,) = parse(text[start:end])
    except (postgast.PgQueryError, DecodeError, ValueError):
        return False
    copy = raw.stmt.copy_stmt
    return bool(raw.stmt.HasField("copy_stmt") and copy.is_from and not copy.filename)


def psql_variable(sql: str) -> str:
    """The first of psql's variables (``:name``, ``:'name'``) in a statement that the grammar refuses; else empty."""
    match = _VARIABLE.search(_STRINGS.sub(lambda m: m.group() if sql[m.start() - 1 : m.start()] == ":" else "", sql))
    return match.group(1) if match else ""


def skip_blank(text: str, at: int) -> int:
    """The offset of the first character at or after ``at`` that is neither white space nor in a comment."""
    while at < len(text):
        if match := _BLANKS.match(text, at):
            at = match.end()
        elif text.startswith("/*", at):
            at = _comment(text, at + 2)[0]
        else:
            break
    return at
