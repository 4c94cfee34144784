"""What is gathered of one statement while its tree is read, and what is known from the statements before it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from console.sql.catalogue import PARTITIONED, Catalogue, Relation
from console.sql.hazards.catalogue import level_of
from console.sql.locks import ACCESS_EXCLUSIVE, LEVEL, SHARE, UNKNOWN_OBJECT, who_waits
from console.sql.model import Hazard, Lock


def worse(one: bool | None, other: bool | None) -> bool | None:
    """The more careful of two answers: yes, then unknown, then no."""
    if one or other:
        return True
    return None if one is None or other is None else False


@dataclass(frozen=True, slots=True)
class Constraint:
    """A constraint that an earlier statement of the sequence added: ``check``, ``foreign`` or another kind."""

    kind: str
    references: str = ""
    not_null_column: str = ""  # CHECK (column IS NOT NULL)
    basis: str = "grammar"  # or catalogue


@dataclass(slots=True)
class Known:
    """What earlier statements of the sequence tell. Names are as ``nodes.relation`` shows them."""

    server_major: int = 18
    new: set[str] = field(default_factory=set)
    made_here: set[str] = field(default_factory=set)  # new, and every statement on it was seen
    references: dict[str, set[str]] = field(default_factory=dict)  # table made here -> tables its foreign keys name
    constraints: dict[tuple[str, str], Constraint] = field(default_factory=dict)
    index_table: dict[str, str] = field(default_factory=dict)
    proven: set[tuple[str, str]] = field(default_factory=set)  # (table, column): a valid CHECK says it is not null
    unvalidated: dict[tuple[str, str], int | None] = field(default_factory=dict)  # NOT VALID constraint -> its group
    triggers: dict[str, set[str]] = field(default_factory=dict)  # table -> functions of triggers made here
    routines: dict[str, Facts] = field(default_factory=dict)  # what a call of a routine made here does
    types: set[str] = field(default_factory=set)  # made here, without a check
    index_columns: dict[str, tuple[str, ...]] = field(default_factory=dict)  # index made here -> its plain columns
    nullable: set[tuple[str, str]] = field(default_factory=set)  # (table, column) added here without NOT NULL
    column_types: dict[tuple[str, str], Any] = field(default_factory=dict)  # (table, column) defined here -> TypeName
    worked: set[str] = field(default_factory=set)  # existing tables whose rows an ALTER TABLE rewrote or read
    partitioned: set[str] = field(default_factory=set)  # made here with PARTITION BY
    catalogue: Catalogue | None = None
    parts: dict[str, set[str]] = field(default_factory=dict)  # table -> partitions and children put under it here
    moved: set[str] = field(default_factory=set)  # put under another table, taken off, renamed
    away: set[str] = field(default_factory=set)  # the catalogue's names that no longer mean what they meant
    touched: set[str] = field(default_factory=set)  # routines and types changed here
    filled: set[str] = field(default_factory=set)  # what rows were put into here
    path_set: bool = False  # names without a schema may mean something else
    zone_set: bool = False  # the session's time zone is another

    def relation(self, name: str) -> Relation | None:
        """What the catalogue says of a relation; None where it does not know this one."""
        if self.catalogue is None or name in self.made_here or name in self.away:
            return None
        return None if self.path_set and "." not in name else self.catalogue.relations.get(name)

    def is_partitioned(self, name: str) -> bool:
        """Whether a table is known to be partitioned: made so here, or the catalogue says so."""
        there = self.relation(name)
        return name in self.partitioned or (there is not None and there.kind == PARTITIONED)

    def fork(self) -> Known:
        """A copy to which other statements may add."""
        copies = {f.name: getattr(self, f.name) for f in fields(self)}
        copies = {name: value.copy() if isinstance(value, (dict, set)) else value for name, value in copies.items()}
        for name in ("references", "parts"):
            copies[name] = {table: set(others) for table, others in copies[name].items()}
        return Known(**copies)


@dataclass(slots=True)
class Facts:
    """One statement's facts. ``doubt`` is why it was not understood, empty when it was."""

    known: Known
    group: int | None = None
    held: dict[str, tuple[str, str]] = field(default_factory=dict)  # object -> mode, basis
    tables: dict[str, None] = field(default_factory=dict)
    rewrite: bool | None = False
    scan: bool | None = False
    hazards: dict[Hazard, None] = field(default_factory=dict)  # in order, each once
    made: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    doubt: str = ""
    transactional: bool = True
    words: str = ""  # who waits, where the locks alone do not tell
    notes: list[str] = field(default_factory=list)
    about: str = ""  # the relation whose rows it works on
    there: set[str] = field(default_factory=set)  # made here IF NOT EXISTS, and in the database already

    def lock(self, name: str, mode: str, basis: str = "grammar") -> None:
        """Note a lock; the strongest on an object stays."""
        held = self.held.get(name)
        if held is None or LEVEL[mode] > LEVEL[held[0]]:
            self.held[name] = (mode, basis)

    def table(self, name: str, mode: str, basis: str = "grammar") -> None:
        """Note a relation that the statement names, and its lock."""
        self.tables[name] = None
        self.lock(name, mode, basis)

    def make(self, name: str) -> None:
        """Note an object that the statement creates."""
        self.made.add(name)
        self.table(name, ACCESS_EXCLUSIVE)

    def is_new(self, name: str) -> bool:
        """Whether nobody else can use the object yet."""
        return name in self.made or name in self.known.new

    def warn(self, code: str, message: str, safer: str = "") -> None:
        """Note a hazard, once per code and message."""
        self.hazards[Hazard(code, message, safer, level_of(code).value)] = None

    def note(self, words: str) -> None:
        """Say something of the statement that is no hazard, once."""
        if words not in self.notes:
            self.notes.append(words)

    def costs(self, *, rewrite: bool | None = False, scan: bool | None = False) -> None:
        """Note that rows are rewritten or read; a rewrite reads them all."""
        self.rewrite = worse(self.rewrite, rewrite)
        self.scan = worse(self.scan, worse(scan, rewrite))

    def give_up(self, why: str) -> None:
        """Note that the statement is not understood: assume the worst of it."""
        self.doubt = self.doubt or why
        self.rewrite = self.scan = None
        self.lock(UNKNOWN_OBJECT, ACCESS_EXCLUSIVE, "assumed")

    def include(self, other: Facts, *, named: bool = True) -> None:
        """Take over what an inner statement does, its creations included. ``named``: this statement's text names it."""
        for name, (mode, basis) in other.held.items():
            self.lock(name, mode, basis)
        if named:
            self.tables.update(other.tables)
        self.costs(rewrite=other.rewrite, scan=other.scan)
        for hazard in other.hazards:
            self.warn(hazard.code, hazard.message, hazard.safer)
        self.about = self.about or other.about
        for words in other.notes:
            self.note(words)
        self.made |= other.made
        self.gone |= other.gone
        self.doubt = self.doubt or other.doubt
        self.transactional = self.transactional and other.transactional

    def locks(self) -> tuple[Lock, ...]:
        """The locks, strongest first."""
        found = [Lock(n, mode, basis, self.is_new(n) and n not in self.there) for n, (mode, basis) in self.held.items()]
        return tuple(sorted(found, key=lambda lock: (-LEVEL[lock.mode], lock.new, lock.object)))

    def blocks(self) -> str:
        """Who waits, in words."""
        return self.words if self.words and not self.doubt else who_waits(self.locks(), self.doubt)

    def hot(self) -> set[str]:
        """Existing objects, named in the statement, on which writes wait."""
        return {
            name
            for name, (mode, basis) in self.held.items()
            if LEVEL[mode] >= LEVEL[SHARE] and basis == "grammar" and not self.is_new(name)
        }

    def remember(self) -> None:
        """Hand what this statement changed on to the statements after it."""
        self.known.new |= self.made - self.there
        self.known.made_here |= self.made - self.there
        self.known.away -= self.made
        for name in self.gone:
            self.known.new.discard(name)
            self.known.made_here.discard(name)

    def apart(self) -> Facts:
        """An empty record for an inner statement."""
        return Facts(self.known, self.group, made=set(self.made))
