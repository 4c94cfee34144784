"""Locks on objects that a statement reaches without naming them: what the words in ``Lock.object`` stand for.

The text of a statement says that dropping a table locks the tables it references; only the catalogue says which. Such
a lock is named in words (``tables that orders references``); ``link_of`` turns them into something to look up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

# The link, and the words for it with {} where the object's name stands.
PHRASES = {
    "everything": "?",
    "references of schema": "tables that those in schema {} reference",
    "referenced by, and on": "tables that reference {}, directly or through others",
    "references": "tables that {} references",  # by foreign keys of {} and of its partitions
    "referenced by": "tables that reference {}",
    "constraint's target": "table that {} references",  # {} is a constraint of the statement's table
    "default partition": "default partition of {}",
    "parent": "parent of {}",  # partitioned table or inheritance parent, all the way up
    "sequences": "sequences of {}",  # owned by its columns
    "dependents": "whatever depends on {}",  # pg_depend, all the way down
    "table of index": "table of index {}",
    "indexes": "indexes of {}",
    "reads": "tables that {} reads",  # what the query of a view names
    "publication": "tables that publication {} held",
    "domain": "tables with columns of {}",
    "uses": "whatever {}() uses",  # a routine
    "row changes": "whatever changes in {} set off",  # foreign keys both ways, sequences, triggers, a view's tables
    "table of statistics": "table of statistics {}",
    "clustered": "every table that was clustered before",
    "all in schema": "everything in schema {}",
    "tables in schema": "every table of {}",
    "all tables": "every table",
}
_FORMS = tuple(
    (link, re.compile(re.escape(words).replace(r"\{\}", "(?P<name>.+)"), re.DOTALL)) for link, words in PHRASES.items()
)


@dataclass(frozen=True, slots=True)
class Link:
    """How a locked object is reached: a key of ``PHRASES``, and from which object (empty for everything)."""

    kind: str
    name: str


@lru_cache(maxsize=4096)
def link_of(words: str) -> Link | None:
    """What the object of a lock stands for, or None for an object that is named."""
    if " " not in words and words != "?":
        return None
    for kind, form in _FORMS:
        if match := form.fullmatch(words):
            return Link(kind, match.groupdict().get("name") or "")
    return None
