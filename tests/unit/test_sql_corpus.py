"""The corpus itself: every line is read, says what it says once, and is understood."""

from __future__ import annotations

from console.sql.analyse import read_file
from console.sql.links import PHRASES, link_of
from tests.sql_corpus import Effects, cases


def test_the_notation_is_read_back_as_it_was_written() -> None:
    text = "c AE, p SRE, rewrite c, scan c, scan p"
    effects = Effects.of(text)
    assert effects.locks == (("c", "ACCESS EXCLUSIVE"), ("p", "SHARE ROW EXCLUSIVE"))
    assert (effects.rewritten, effects.scanned) == (("c",), ("c", "p"))
    assert str(effects) == text


def test_the_corpus_is_large_and_has_nothing_twice() -> None:
    found = [case.sql for case in cases()]
    assert len(found) > 500
    assert len(set(found)) == len(found)


def test_every_lock_on_something_unnamed_can_be_looked_up() -> None:
    objects = {
        lock.object
        for case in cases()
        for statement in read_file(case.sql, second_reader=False)
        for lock in statement.locks
        if " " in lock.object
    }
    assert [words for words in objects if link_of(words) is None] == []
    assert {found.kind for words in objects if (found := link_of(words))} <= set(PHRASES)
