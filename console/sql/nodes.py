"""Small helpers over PostgreSQL's parse tree (libpg_query's protobuf messages)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import postgast
from google.protobuf.message import Message
from postgast import pg_query_pb2 as pb

_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_$]*\Z")
_OBJECT_WORDS = {
    "MATVIEW": "MATERIALIZED VIEW",
    "FDW": "FOREIGN DATA WRAPPER",
    "FOREIGN SERVER": "SERVER",
    "OPCLASS": "OPERATOR CLASS",
    "OPFAMILY": "OPERATOR FAMILY",
    "STATISTIC EXT": "STATISTICS",
    "TABCONSTRAINT": "CONSTRAINT",
    "DOMCONSTRAINT": "DOMAIN",
    "TSCONFIGURATION": "TEXT SEARCH CONFIGURATION",
    "TSDICTIONARY": "TEXT SEARCH DICTIONARY",
    "TSPARSER": "TEXT SEARCH PARSER",
    "TSTEMPLATE": "TEXT SEARCH TEMPLATE",
    "ATTRIBUTE": "TYPE",
    "LARGEOBJECT": "LARGE OBJECT",
}


def which(node: Any) -> str:
    """The name of the message inside a Node wrapper; empty when there is none."""
    return node.WhichOneof("node") or ""


def inner(node: Any) -> Any:
    """The message inside a Node wrapper, or the wrapper itself when it is empty."""
    name = node.WhichOneof("node")
    return getattr(node, name) if name else node


def definition(cmd: Any) -> Any:
    """The ``def`` of an ALTER TABLE subcommand (a keyword of Python)."""
    return inner(getattr(cmd, "def"))


def strings(nodes: Iterable[Any]) -> list[str]:
    """The texts of a list of String nodes."""
    return [inner(n).sval for n in nodes if which(n) == "string"]


def children(message: Any) -> Iterator[Any]:
    """The messages directly inside, with Node wrappers peeled."""
    for _, value in message.ListFields():
        if isinstance(value, Message):
            yield inner(value) if isinstance(value, pb.Node) else value
        elif not isinstance(value, (str, bytes, int, float, bool)):
            for item in value:
                if isinstance(item, Message):
                    yield inner(item) if isinstance(item, pb.Node) else item


def descend(message: Any) -> Iterator[Any]:
    """``message`` and every message below it."""
    stack = [message]
    while stack:
        current = stack.pop()
        yield current
        stack.extend(children(current))


def plain_name(parts: Iterable[str]) -> str:
    """A dotted name as it is shown and compared: without a catalogue, and without the schema ``public``."""
    words = list(parts)[-2:]
    return words[-1] if len(words) == 2 and words[0] == "public" else ".".join(words)


def relation(range_var: Any) -> str:
    """The name of a relation as it is shown and compared."""
    return plain_name(p for p in (range_var.schemaname, range_var.relname) if p)


def beside(name: str, new_name: str) -> str:
    """``new_name`` in the schema of the shown name ``name``."""
    return f"{name.rsplit('.', 1)[0]}.{new_name}" if "." in name else new_name


@lru_cache(maxsize=4096)
def quoted(name: str) -> str:
    """An identifier as it is written in SQL, quoted only where it must be."""
    if _PLAIN_NAME.match(name):
        tokens = postgast.scan(name).tokens
        if len(tokens) == 1 and tokens[0].keyword_kind in (pb.NO_KEYWORD, pb.UNRESERVED_KEYWORD):
            return name
    return '"' + name.replace('"', '""') + '"'


def written(range_var: Any) -> str:
    """The name of a relation as it is written in SQL."""
    return ".".join(quoted(p) for p in (range_var.schemaname, range_var.relname) if p)


def columns(names: Iterable[str]) -> str:
    """A list of columns as it is written in SQL."""
    return ", ".join(quoted(n) for n in names)


@lru_cache(maxsize=256)
def enum_words(enum: Any, value: int) -> str:
    """An ObjectType in SQL's words: ``OBJECT_MATVIEW`` is MATERIALIZED VIEW."""
    words = str(enum.Name(value)).removeprefix("OBJECT_").replace("_", " ")
    return _OBJECT_WORDS.get(words, words)


def option(options: Iterable[Any], name: str) -> bool:
    """Whether a list of options has ``name``, set to true or standing alone."""
    for node in options:
        element = inner(node)
        if element.defname == name:
            return option_true(element)
    return False


def option_true(element: Any) -> bool:
    """Whether an option's value is true; an option without a value is."""
    if not element.HasField("arg"):
        return True
    value = inner(element.arg)
    match which(element.arg):
        case "boolean":
            return bool(value.boolval)
        case "integer":
            return bool(value.ival)
        case "string":
            return str(value.sval).lower() in ("true", "on", "1", "yes")
    return True


def expression(node: Any) -> str:
    """An expression as SQL text; empty where it cannot be written back."""
    tree = pb.ParseResult()
    target = tree.stmts.add().stmt.select_stmt.target_list.add()
    target.res_target.val.CopyFrom(node)
    try:
        return str(postgast.deparse(tree)).removeprefix("SELECT ").strip()
    except postgast.PgQueryError:
        return ""
