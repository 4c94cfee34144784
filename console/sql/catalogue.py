"""What a database's catalogue says of the names a plan uses: plain data, read by ``console.engine.catalogue_facts``.

Names are as ``nodes.relation`` shows them: without the schema ``public``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PARTITIONED = "p"
INDEXES = frozenset("iI")
VIEWS = frozenset("vm")


@dataclass(frozen=True, slots=True)
class Column:
    """``type`` is SQL text as ``format_type`` gives it. ``tied``: an index, constraint, view or rule depends on it."""

    type: str
    not_null: bool
    tied: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A constraint of a table; ``references`` is the table of a foreign key, ``not_null_column`` of CHECK (x IS NOT NULL)."""

    kind: str  # check, foreign, other
    valid: bool
    references: str = ""
    not_null_column: str = ""


@dataclass(frozen=True, slots=True)
class Relation:
    """One relation. ``kind`` is pg_class.relkind. ``rows`` is an estimate, -1 where nobody has counted; sizes in bytes.

    ``heap_bytes`` are the rows with what is stored out of line; a partitioned table's figures are the sums over its
    partitions. ``below``: every partition and child, at any depth. ``parents``: those it is directly under.
    ``partners``: the tables at the other end of the foreign keys that a column is in. ``emptied_with``: those that TRUNCATE ... CASCADE empties too. ``depends``: relations that fall or change with it under CASCADE. ``reads``: what a view reads.
    ``indexed``: the columns of each usable index, in order. ``proven``: columns that no row has NULL in.
    """

    name: str
    kind: str
    rows: float = -1
    heap_bytes: int = 0
    index_bytes: int = 0
    columns: Mapping[str, Column] = field(default_factory=dict)
    constraints: Mapping[str, Link] = field(default_factory=dict)
    below: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    default_partition: str = ""
    references: tuple[str, ...] = ()
    referenced_by: tuple[str, ...] = ()
    partners: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    emptied_with: tuple[str, ...] = ()
    sequences: tuple[str, ...] = ()
    table: str = ""  # of an index
    depends: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    indexed: tuple[tuple[str, ...], ...] = ()
    triggers: tuple[str, ...] = ()
    proven: frozenset[str] = frozenset()
    more: int = 0  # relations under it or depending on it that were too many to name


@dataclass(frozen=True, slots=True)
class Catalogue:
    """One database. ``asked``: the names that were looked up; those not in ``relations`` are not there.

    ``zone`` is the database's TimeZone (the runner's own sessions are in UTC). ``functions``: the most careful
    volatility of all functions of a name, ``i``, ``s`` or ``v``. ``types``: whether a value is checked (a domain with a
    condition), for types that are not PostgreSQL's own. ``type_users``: the tables with columns of a domain.
    """

    server_version: int
    zone: str
    relations: Mapping[str, Relation]
    asked: frozenset[str]
    functions: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, bool] = field(default_factory=dict)
    type_users: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def missing(self, name: str) -> bool:
        """Whether the name was looked up and is not in the database."""
        return name in self.asked and name not in self.relations
