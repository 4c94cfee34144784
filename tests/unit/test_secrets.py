"""Passwords are masked in whatever is exported, and what is none stays as it is."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from console.journal.public import public
from console.journal.state import Session, TaskStatus
from console.text import without_secrets


@pytest.mark.parametrize(
    "text",
    [
        "CREATE ROLE app LOGIN PASSWORD 'hunter2'",
        "alter role app encrypted password E'hunter2'",
        "ALTER ROLE app PASSWORD $$hunter2$$",
        "ALTER ROLE app PASSWORD $x$hunter2$x$",
        "ALTER ROLE app PASSWORD 'hunter2",  # cut off by the server
        "ALTER ROLE app PASSWORD $$hunter2",
        "CREATE USER MAPPING FOR app SERVER s OPTIONS (user 'app', password 'hunter2')",
        "CREATE SUBSCRIPTION s CONNECTION 'host=db user=app password=hunter2' PUBLICATION p",
        "CREATE SUBSCRIPTION s CONNECTION 'host=db password=''hunter2 more''' PUBLICATION p",
        "SELECT dblink('host=db password = hunter2 dbname=x', 'SELECT 1')",
        "connection to postgresql://app:hunter2@db/x failed",
        'connection "host=db password=hunter2 user=app" failed',
        "UPDATE users SET password = crypt('hunter2', gen_salt('bf')) WHERE id = 1",
        "SELECT set_config('app.api_key', 'hunter2', false)",
        "SELECT pgp_sym_decrypt(x, 'hunter2') FROM t",
        "PGPASSWORD=hunter2 psql",
        "SELECT 1; -- token=hunter2",
    ],
)
def test_a_password_is_masked(text: str) -> None:
    masked = without_secrets(text)
    assert "hunter2" not in masked
    assert "***" in masked


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE t (a text DEFAULT 'x')",
        "SELECT 'it''s', $$body$$ FROM t WHERE a = 'b'",
        "postgresql://app@db/x and http://localhost:8080/path@2",
        "COMMENT ON COLUMN t.author IS 'who wrote it'",
        "SELECT password FROM users WHERE id = $1",
        "",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert without_secrets(text) == text


@dataclass(frozen=True)
class Fact:
    name: str
    inner: tuple[object, ...]
    number: int = 3


def test_every_text_of_a_fact_is_looked_at() -> None:
    fact = Fact("password=a", ({"password": "PASSWORD 'b'", "n": 1}, ["token=c"], TaskStatus.FAILED, None))
    assert public(fact) == Fact(
        "password=***", ({"password": "PASSWORD '***'", "n": 1}, ["token=***"], TaskStatus.FAILED, None)
    )
    assert isinstance(public(fact).inner[2], TaskStatus)


def test_what_another_session_says_is_masked_at_once() -> None:
    session = Session(1, "psql", "app", "active", 1.0, "ALTER ROLE app PASSWORD 'hunter2'", "blocks us")
    assert session.query == "ALTER ROLE app PASSWORD '***'"
