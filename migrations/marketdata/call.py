"""An operation as data: its SQL, its values and how its answer is read. One definition serves sync and async callers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import psycopg

T = TypeVar("T")
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server answered: its rows (none for a statement without), and how many it touched."""

    rows: Sequence[Row]
    touched: int


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One statement. ``read`` makes the result of the answer."""

    query: bytes
    values: Any
    read: Callable[[Answer], T]


def run(conn: psycopg.Connection[Any], call: Call[T]) -> T:
    """Carry a call out. Raises psycopg.Error when the database refuses."""
    cur = conn.execute(call.query, call.values)
    return call.read(Answer(cur.fetchall() if cur.description else (), cur.rowcount))


async def run_async(conn: psycopg.AsyncConnection[Any], call: Call[T]) -> T:
    """As ``run``, for an asynchronous connection."""
    cur = await conn.execute(call.query, call.values)
    return call.read(Answer(await cur.fetchall() if cur.description else (), cur.rowcount))


def nothing(_: Answer) -> None:
    """For statements that only write."""


def touched_one(answer: Answer) -> bool:
    """Whether exactly one row was written."""
    return answer.touched == 1


def only(answer: Answer) -> Any:
    """The one value of the one row. Raises LookupError when there is none."""
    if not answer.rows:
        raise LookupError("the statement gave no row")
    return answer.rows[0][0]
