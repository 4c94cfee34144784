"""No input ends the reading of SQL, and nothing that is not understood is called safe."""

from __future__ import annotations

import re

import postgast
import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from console.sql.analyse import read_file
from console.sql.highlight import tokens
from console.sql.inverse import way_back
from console.sql.kinds import UNKNOWN
from console.sql.split import read_parts
from tests.sql_corpus import cases

CORPUS = tuple(case.sql for case in cases())
WORDS = sorted({word for sql in CORPUS for word in re.findall(r"\w+|[^\w\s]+", sql)})
ODD = (
    *(
        "'",
        '"',
        "$$",
        "$a$",
        "/*",
        "*/",
        "--",
        "\n",
        "\r",
        "\f",
        ";",
        "\\",
        "\\i x\n",
        "\\echo\n",
        "(",
        ")",
        "E'",
        "\\'",
    ),
    *("\u00a0", "\ufeff", "é", "🎉", "\x00", "\ud800", ":v", ":'v'", "BEGIN;", "COMMIT;", "ROLLBACK;", "BEGIN ATOMIC "),
    *("END;", "COPY t FROM STDIN;\n", "\\.\n", "DO $$ BEGIN ", " END $$;", "SELEKT", "CONCURRENTLY", "CASCADE"),
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A statement of the corpus with words left out, doubled, exchanged and put in."""
    words = re.findall(r"\s+|\w+|[^\w\s]", draw(st.sampled_from(CORPUS)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(words) - 1, 0)))
        match draw(st.integers(0, 4)):
            case 0:
                del words[place : place + 1]
            case 1:
                words[place:place] = words[place : place + 3]
            case 2:
                words[place:place] = [draw(st.sampled_from(ODD))]
            case 3:
                words[place : place + 1] = [draw(st.sampled_from(WORDS))]
            case _:
                words = words[:place] if draw(st.booleans()) else words[place:]
    return "".join(words)


TEXTS = st.lists(mutated() | st.sampled_from(CORPUS) | st.text(max_size=40) | st.sampled_from(ODD), max_size=4).map(
    "; ".join
)
settings.register_profile("sql", deadline=None, suppress_health_check=list(HealthCheck))
SETTINGS = settings(settings.get_profile("sql"), max_examples=250)
CAMPAIGN = settings(settings.get_profile("sql"), max_examples=20_000)


def accepted(sql: str) -> bool:
    """Whether PostgreSQL's grammar takes it as one statement."""
    try:
        return len(postgast.parse(sql).stmts) == 1
    except (postgast.PgQueryError, DecodeError, UnicodeEncodeError):
        return False


def check(text: str, *, second_reader: bool) -> None:
    """Everything that is promised of any text at all."""
    at = 0
    bare = not re.search("[\x00\ud800-\udfff\\\\]", text)  # psql's commands are blanked out of statements
    for statement in read_file(text, "f.sql", second_reader=second_reader):
        if not statement.read_by.postgresql or not accepted(statement.sql):
            assert statement.kind == UNKNOWN
        if statement.kind == UNKNOWN:
            assert (statement.rewrite, statement.scan) == (None, None)
            assert ("?", "ACCESS EXCLUSIVE", "assumed") in [(x.object, x.mode, x.basis) for x in statement.locks]
            assert statement.blocks.startswith("unknown")
            assert "UNKNOWN-STATEMENT" in [hazard.code for hazard in statement.hazards] or "allow" in text
        elif bare:
            at = text.index(statement.sql, at) + len(statement.sql)  # the file's own text, in order
        back = way_back(statement.sql)
        assert not (back.sql and back.why_not)
        tokens(statement.sql)


def lost(text: str) -> bool:
    """Whether a statement of a text that the grammar accepts as a whole is missing from its parts."""
    if re.search("[\x00\ud800-\udfff\\\\:\ufeff]", text):
        return False
    try:
        whole = postgast.parse(text).stmts
    except (postgast.PgQueryError, DecodeError):
        return False
    read = [part for part in read_parts(text) if part.sql]
    control = sum(raw.stmt.HasField("transaction_stmt") for raw in whole)
    copies = any(raw.stmt.HasField("copy_stmt") for raw in whole)
    return not copies and len(read) < len(whole) - control


@given(TEXTS)
@SETTINGS
def test_no_text_ends_the_reading_and_unknown_is_never_safe(text: str) -> None:
    check(text, second_reader=False)
    assert not lost(text)


@given(mutated())
@settings(SETTINGS, max_examples=60)
def test_the_second_reader_does_not_end_it_either(text: str) -> None:
    check(text, second_reader=True)


@pytest.mark.long
@given(TEXTS)
@CAMPAIGN
def test_many_texts(text: str) -> None:
    check(text, second_reader=False)
    assert not lost(text)


@pytest.mark.parametrize("sql", CORPUS)
def test_every_prefix_word_by_word_is_read(sql: str) -> None:
    """What a typist or a broken transfer leaves: a part of a statement."""
    words = re.findall(r"\S+\s*", sql)
    for length in range(1, len(words), 3):
        check("".join(words[:length]), second_reader=False)
