"""Where the keywords, strings, numbers, comments, names and operators of an SQL text stand."""

from __future__ import annotations

import postgast
from google.protobuf.message import DecodeError
from postgast import pg_query_pb2 as pb

_STRINGS = frozenset({pb.SCONST, pb.USCONST, pb.BCONST, pb.XCONST})
_NUMBERS = frozenset({pb.ICONST, pb.FCONST, pb.PARAM})
_COMMENTS = frozenset({pb.SQL_COMMENT, pb.C_COMMENT})
_NAMES = frozenset({pb.IDENT, pb.UIDENT})


def _class(token: pb.ScanToken) -> str:
    if token.token in _STRINGS:
        return "string"
    if token.token in _NUMBERS:
        return "number"
    if token.token in _COMMENTS:
        return "comment"
    if token.token in _NAMES:
        return "name"
    return "operator" if token.keyword_kind == pb.NO_KEYWORD else "keyword"


def tokens(sql: str) -> tuple[tuple[int, int, str], ...]:
    """(start, end, class) of each token, in characters; class is keyword, string, number, comment, name or operator.

    Empty where the text cannot be cut into tokens. Never raises.
    """
    if "\x00" in sql:
        return ()
    try:
        raw = sql.encode()
        found = postgast.scan(sql).tokens
    except (postgast.PgQueryError, DecodeError, UnicodeEncodeError):
        return ()
    if len(raw) == len(sql):
        return tuple((t.start, t.end, _class(t)) for t in found)
    result: list[tuple[int, int, str]] = []
    byte = char = 0
    for token in found:
        start = char + len(raw[byte : token.start].decode("utf-8", "replace"))
        end = start + len(raw[token.start : token.end].decode("utf-8", "replace"))
        result.append((start, end, _class(token)))
        byte, char = token.end, end
    return tuple(result)
