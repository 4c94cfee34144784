"""Text keys that a language sorts: batches end where the key's own collation says, and no row is left out or copied twice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.engine.backfill import Backfill
from console.engine.compare import compare
from console.engine.facts import mapping_facts
from console.engine.refusals import obstacles
from console.journal.connect import connect
from console.plan.model import BackfillSettings, Direction, Kind, Lookup, Mapping, TableName
from tests.engine.scene import a_plan, a_session, a_task, switch_on

# In bytes: digits, upper case, "_", lower case, then every accent; as a language sorts them, all of that is mixed.
WORDS = (
    "",
    "_x",
    "1",
    "10",
    "2",
    "A b",
    "A-b",
    "Z",
    "a",
    "b",
    "ss",
    "Äpfel",
    "Ö-1",
    "ß",
    "ä",
    "ö",
    "ÿ",
    "日本",
    "'",
    "\\",
)
MAPPING = Mapping(
    id="words",
    old=TableName("public", "words"),
    new=TableName("public", "words_v2"),
    old_key=("word",),
    new_key=("word",),
    columns=(("word", "o.word"), ("n", "o.n")),
    back=(("word", "n.word"), ("n", "n.n")),
)


FAILS = "to compare them would fail the application's write."
LANGUAGE = "und-x-icu"  # how Unicode sorts where no language says otherwise; not in every build of a server


@pytest.mark.parametrize("other", [LANGUAGE, "default"], ids=["both sorted alike", "sorted differently"])
@pytest.mark.parametrize("rows", [1, 3, 7])
def test_every_row_arrives_whatever_sorts_the_key(database: str, other: str, rows: int) -> None:
    with connect(database) as conn:
        if not conn.execute("SELECT 1 FROM pg_collation WHERE collname = %s", (LANGUAGE,)).fetchone():
            pytest.skip("this server was built without ICU")
        conn.execute(f'CREATE TABLE words (word text COLLATE "{LANGUAGE}" PRIMARY KEY, n int)'.encode())
        conn.execute(f'CREATE TABLE words_v2 (word text COLLATE "{other}" PRIMARY KEY, n int)'.encode())
        conn.cursor().executemany("INSERT INTO words VALUES (%s, %s)", [(word, i) for i, word in enumerate(WORDS)])
        assert [row[0] for row in conn.execute("SELECT word FROM words ORDER BY word")] != sorted(WORDS)
        switch_on(conn, Direction.FORWARD, MAPPING)
        settings = BackfillSettings(batch_rows=rows, target_ms=1)
        tasks = (
            a_task("copy", Kind.BACKFILL, mappings=("words",), backfill=settings),
            a_task("compare", Kind.CHECK, mappings=("words",)),
        )
        session = a_session(database, replace(a_plan(*tasks), mappings=(MAPPING,)))
        try:
            Backfill(session, tasks[0], MAPPING, 0).run()
            conn.execute("UPDATE words SET word = 'ÄPFEL' WHERE word = 'Äpfel'")
            conn.execute("DELETE FROM words WHERE word = 'ß'")
            conn.execute("INSERT INTO words VALUES ('strasse', 1), ('straße', 2)")
            read = conn.execute("SELECT sum(rows_read), count(*) FROM pgferry.chunk").fetchone()
            verdict = compare(session, tasks[1], MAPPING, show=False)
        finally:
            session.drop()
        assert read is not None
        assert read[0] == len(WORDS)
        assert read[1] >= len(WORDS) // max(rows, 5), "several batches"
        assert verdict.words() == f"{len(WORDS) + 1} old = {len(WORDS) + 1} new + 0 rejected, every row equal"
        copied = 'SELECT word, n FROM {} ORDER BY word COLLATE "C"'
        old, new = (conn.execute(copied.format(name).encode()).fetchall() for name in ("words", "words_v2"))
        assert old == new


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("C", "POSIX", 'words.word has collation "C" and words_v2.word has "POSIX"'),
        ("C", "default", ""),
        ("default", "POSIX", ""),
        ("C", "C", ""),
    ],
    ids=["different", "old alone", "new alone", "the same"],
)
def test_keys_whose_collations_do_not_go_together_are_refused(database: str, old: str, new: str, what: str) -> None:
    with connect(database) as conn:
        for name, collation in (("words", old), ("words_v2", new)):
            conn.execute(f'CREATE TABLE {name} (word text COLLATE "{collation}" PRIMARY KEY, n int)'.encode())
        facts = mapping_facts(conn, MAPPING, "pgferry_archive")
        found = [one.what for one in obstacles(conn, MAPPING, facts, Direction.BOTH)]
        assert [text for text in found if "collation" in text] == ([f"{what}: {FAILS}"] if what else [])
        if what:
            return
        switch_on(conn, Direction.BOTH, MAPPING)
        conn.execute("INSERT INTO words VALUES ('a', 1), ('b', 2), ('c', 3)")
        conn.execute("UPDATE words SET word = 'z' WHERE word = 'a'")
        conn.execute("DELETE FROM words_v2 WHERE word = 'b'")
        conn.execute("UPDATE words_v2 SET word = 'Y', n = 9 WHERE word = 'c'")
        assert conn.execute("SELECT word, n FROM words ORDER BY n").fetchall() == [("z", 1), ("Y", 9)]
        assert conn.execute("SELECT word, n FROM words_v2 ORDER BY n").fetchall() == [("z", 1), ("Y", 9)]


def test_a_lookup_whose_spellings_have_another_collation_is_refused(database: str) -> None:
    with connect(database) as conn:
        conn.execute('CREATE TABLE words (word text COLLATE "C" PRIMARY KEY, n int)')
        conn.execute("CREATE TABLE words_v2 (word_id int PRIMARY KEY, n int)")
        conn.execute('CREATE TABLE spellings (spelling text COLLATE "POSIX", id int, canonical boolean)')
        lookup = Lookup("w", TableName("public", "spellings"), (("spelling", "word"),), "id", "canonical")
        mapping = replace(
            MAPPING, new_key=("word_id",), lookups=(lookup,), columns=(("word_id", "w.id"), ("n", "o.n")),
            back=(("word", "w.spelling"), ("n", "n.n")),
        )  # fmt: skip
        facts = mapping_facts(conn, mapping, "pgferry_archive")
        found = [one.what for one in obstacles(conn, mapping, facts, Direction.FORWARD)]
        assert 'spellings.spelling has collation "POSIX" and words.word has "C": ' + FAILS in found
