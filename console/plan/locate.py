"""Finds the line of every table, key and list element in a TOML text; tomllib gives values but no positions."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import NamedTuple

Path = tuple[str | int, ...]

_TOKEN = re.compile(
    r"""
    (?P<skip>[ \t\r]+|\#[^\n]*)
  | (?P<newline>\n)
  | (?P<text>\"{3}(?:\\.|[^\\])*?\"{3}\"{0,2}|'{3}.*?'{3}'{0,2}|"(?:\\.|[^"\\\n])*"|'[^'\n]*')
  | (?P<mark>[\[\]{}=,.])
  | (?P<bare>[^\s\[\]{}=,."'\#]+)
    """,
    re.VERBOSE | re.DOTALL,
)


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def _tokens(text: str) -> Iterator[_Token]:
    line, at = 1, 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:  # cannot happen in text that tomllib accepted; the end of what can be located
            break
        kind = found.lastgroup or ""
        if kind != "skip":
            yield _Token(kind, found.group(), line)
        line += found.group().count("\n")
        at = found.end()
    yield _Token("end", "", line)


class Locator:
    """Lines (1-based) of everything in a TOML text that tomllib accepts.

    A place is a path of keys and list positions: ``("phase", 0, "task", 2, "kind")``.
    """

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0
        self._lines: dict[Path, int] = {}
        self._lists: dict[Path, int] = {}  # list of tables -> position of its last table
        self._document()

    def line(self, *path: str | int) -> int:
        """The line of ``path``, or of the nearest table around it; 0 for the document itself."""
        while path:
            if path in self._lines:
                return self._lines[path]
            path = path[:-1]
        return 0

    def _peek(self) -> _Token:
        return self._tokens[self._at]

    def _next(self) -> _Token:
        token = self._tokens[self._at]
        if token.kind != "end":
            self._at += 1
        return token

    def _skip_newlines(self) -> None:
        while self._peek().kind == "newline":
            self._next()

    def _document(self) -> None:
        table: Path = ()
        while True:
            self._skip_newlines()
            if self._peek().kind == "end":
                return
            if self._peek().text == "[" and self._peek().kind == "mark":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Path:
        line = self._next().line
        several = self._peek() == _Token("mark", "[", line)
        if several:
            self._next()
        key = self._key()
        while self._peek().kind == "mark" and self._peek().text == "]":
            self._next()
        path: Path = ()
        for part in key[:-1]:
            path = (*path, part)
            if path in self._lists:
                path = (*path, self._lists[path])
        path = (*path, key[-1])
        if several:
            self._lines.setdefault(path, line)
            self._lists[path] = self._lists.get(path, -1) + 1
            path = (*path, self._lists[path])
        self._lines[path] = line
        return path

    def _key(self) -> list[str]:
        parts: list[str] = []
        while True:
            token = self._next()
            parts.append(tomllib.loads(f"k = {token.text}")["k"] if token.kind == "text" else token.text)
            if self._peek().text != "." or self._peek().kind != "mark":
                return parts
            self._next()

    def _pair(self, table: Path) -> None:
        line = self._peek().line
        path = table
        for part in self._key():
            path = (*path, part)
            self._lines.setdefault(path, line)
        self._next()  # the equals sign
        self._value(path)

    def _value(self, path: Path) -> None:
        token = self._peek()
        if token.kind == "mark" and token.text == "[":
            self._next()
            self._elements(path, "]")
        elif token.kind == "mark" and token.text == "{":
            self._next()
            self._elements(path, "}")
        else:
            while self._peek().kind in ("text", "bare") or self._peek().text == ".":
                self._next()

    def _elements(self, path: Path, closing: str) -> None:
        position = 0
        while True:
            self._skip_newlines()
            token = self._peek()
            if token.kind == "end":
                return
            if token.kind == "mark" and token.text in (closing, ","):
                self._next()
                if token.text == closing:
                    return
            elif closing == "}":
                self._pair(path)
            else:
                self._lines[(*path, position)] = token.line
                self._value((*path, position))
                position += 1
