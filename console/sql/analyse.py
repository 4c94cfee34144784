"""A file of SQL as facts: what each statement locks, rewrites, scans and endangers. Unknown is never called safe."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from console.sql import alter, drops, objects, queries, resolve, routines, tables
from console.sql.facts import Facts, Known
from console.sql.hazards import checks
from console.sql.hazards.allow import Comments
from console.sql.hazards.catalogue import UNKNOWN as UNKNOWN_CODE
from console.sql.hazards.rule import Level
from console.sql.kinds import UNKNOWN
from console.sql.model import Hazard, Readers, Statement
from console.sql.nodes import inner, which
from console.sql.second import second_reading
from console.sql.split import Part, read_parts
from console.transactions import Transactions

_READERS: dict[str, Callable[[Facts, Any], None]] = {
    "alter_domain_stmt": objects.alter_domain,
    "alter_enum_stmt": objects.alter_enum,
    "alter_extension_contents_stmt": objects.named_only,
    "alter_extension_stmt": objects.opaque("the extension's script is not read"),
    "alter_object_schema_stmt": alter.set_schema,
    "alter_object_depends_stmt": alter.depends,
    "alter_owner_stmt": alter.set_owner,
    "alter_policy_stmt": objects.on_table,
    "alter_publication_stmt": objects.publication,
    "alter_seq_stmt": objects.alter_sequence,
    "alter_table_stmt": alter.alter_table,
    "alter_type_stmt": objects.alter_type,
    "call_stmt": routines.call,
    "cluster_stmt": objects.cluster,
    "comment_stmt": objects.comment,
    "composite_type_stmt": objects.create_type,
    "copy_stmt": queries.copy,
    "create_domain_stmt": objects.create_domain,
    "create_enum_stmt": objects.create_type,
    "create_foreign_table_stmt": tables.create_table,
    "create_policy_stmt": objects.on_table,
    "create_publication_stmt": objects.publication,
    "create_range_stmt": objects.create_type,
    "create_schema_stmt": objects.create_schema,
    "create_seq_stmt": objects.create_sequence,
    "create_stats_stmt": objects.create_statistics,
    "create_stmt": tables.create_table,
    "create_table_as_stmt": tables.create_table_as,
    "create_trig_stmt": objects.create_trigger,
    "declare_cursor_stmt": objects.cursor,
    "delete_stmt": queries.delete,
    "drop_owned_stmt": objects.opaque("what the role owns is not in the text"),
    "drop_stmt": drops.drop,
    "execute_stmt": objects.opaque("what was prepared is not in the text"),
    "explain_stmt": objects.explain,
    "index_stmt": objects.create_index,
    "insert_stmt": queries.insert,
    "load_stmt": objects.opaque("a loaded library can do anything"),
    "lock_stmt": objects.lock_table,
    "merge_stmt": queries.merge,
    "prepare_stmt": objects.cursor,
    "reassign_owned_stmt": objects.opaque("what the role owns is not in the text"),
    "refresh_mat_view_stmt": objects.refresh,
    "reindex_stmt": objects.reindex,
    "rename_stmt": alter.rename,
    "rule_stmt": objects.on_table,
    "sec_label_stmt": objects.comment,
    "select_stmt": queries.select,
    "truncate_stmt": objects.truncate,
    "update_stmt": queries.update,
    "vacuum_stmt": objects.vacuum,
    "view_stmt": objects.create_view,
}

# Understood, and without a lock on any table: settings, roles, operators, servers, databases.
_NO_TABLE = frozenset(
    f"{name}_stmt"
    for name in """
    alter_collation alter_database_refresh_coll alter_database_set alter_database alter_default_privileges
    alter_event_trig alter_fdw alter_foreign_server alter_function alter_op_family alter_operator
    alter_role_set alter_role alter_stats alter_system alter_tsconfiguration alter_tsdictionary alter_user_mapping
    check_point close_portal constraints_set create_am create_cast create_conversion create_event_trig create_extension
    create_fdw create_foreign_server create_op_class create_op_family create_plang create_role create_table_space
    create_transform create_user_mapping createdb deallocate define discard drop_role drop_table_space
    drop_user_mapping dropdb fetch grant_role listen notify unlisten variable_set variable_show
    """.split()  # noqa: SIM905
)


def _read_node(facts: Facts, node: Any) -> None:
    """Fill ``facts`` from one parse tree."""
    name = which(node)
    if name == "do_stmt":
        routines.do_block(facts, inner(node), _read_node)
    elif name == "grant_stmt":
        objects.grant(facts, inner(node))
    elif reader := _READERS.get(name):
        reader(facts, inner(node))
    elif name not in _NO_TABLE:
        facts.give_up("its effect is not in the analyser's tables")
    checks.check(facts, node)
    resolve.resolve(facts, node)
    resolve.watch(facts, node)


def _facts_of(part: Part, known: Known) -> Facts:
    """The facts of one statement; whatever goes wrong while reading it makes it unknown."""
    facts = Facts(known, part.group)
    if part.node is None:
        facts.give_up(part.fault or part.doubt)
        return facts
    try:
        if which(part.node) == "create_function_stmt":
            routines.create_function(facts, inner(part.node), _read_node, part.sql)
            checks.check(facts, part.node)
        else:
            _read_node(facts, part.node)
        checks.long_names(facts, part.sql)
    except Exception:  # a tree of an unforeseen form: no fact of it may be believed
        facts = Facts(known, part.group)
        facts.give_up("the analyser could not read it")
    return facts


def _unknown_hazard(part: Part, facts: Facts) -> None:
    if facts.doubt:
        runs = not part.fault or part.unread
        facts.warn(
            UNKNOWN_CODE,
            f"What it locks is not known: {facts.doubt}. It is counted as ACCESS EXCLUSIVE on everything.",
            "Rehearse it, where its locks are measured; to run it, write above it: -- pgferry: allow UNKNOWN REASON"
            if runs
            else "It is not carried out: correct the file.",
        )


def _transaction_hazards(part: Part, facts: Facts, hot: dict[int, set[str]], scans: set[int]) -> None:
    """Hazards of standing together with other statements in one transaction."""
    if part.group is None:
        own = facts.hot() if part.node is not None and which(part.node) in _SEVERAL else set()
        if len(own) > 1:
            _two_hot(facts, own)
        return
    if not (facts.transactional and part.transactional):
        facts.warn(
            "NOT-IN-TRANSACTION",
            "It cannot run in a transaction block and fails there.",
            "Take it out of BEGIN and COMMIT, or out of a file that runs in one transaction.",
        )
    before = hot.setdefault(part.group, set())
    fresh = facts.hot() - before
    if fresh and len(before | fresh) > 1:
        _two_hot(facts, before | fresh)
    if before and (facts.scan or facts.rewrite) and part.group not in scans:
        scans.add(part.group)
        facts.warn(
            "LONG-WORK-UNDER-LOCK",
            f"Rows are read or written while the locks on {', '.join(sorted(before))} from before are still held.",
            "Put the long statement in a transaction of its own.",
        )
    before |= fresh


_SEVERAL = frozenset({"drop_stmt", "truncate_stmt", "lock_stmt", "do_stmt"})


def _two_hot(facts: Facts, names: Iterable[str]) -> None:
    facts.warn(
        "TWO-HOT-TABLES",
        f"{' and '.join(sorted(names))} are locked in one transaction: all wait for the slowest, and a session that"
        " takes them in another order deadlocks.",
        "One transaction for each table, each with a lock timeout.",
    )


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is asked of the statements of one file."""

    file: str
    second_reader: bool
    style: bool

    def shown(self, hazards: Iterable[Hazard]) -> tuple[Hazard, ...]:
        """The hazards to report."""
        return tuple(h for h in hazards if self.style or h.level != Level.STYLE)


def _statement(part: Part, facts: Facts, comments: Comments, wanted: _Wanted) -> Statement:
    hazards, accepted = comments.apply(tuple(facts.hazards), part.line, len(part.comments))
    understood = not part.fault
    names = tuple(facts.tables)
    unread = part.node is None
    readers = (
        second_reading(part.sql, names, understood=understood and not unread)
        if wanted.second_reader
        else Readers(understood, "failed", None)
    )
    return Statement(
        file=wanted.file,
        line=part.line,
        ordinal=0,
        sql=part.sql,
        kind=UNKNOWN if unread else part.kind,
        transactional=part.transactional and facts.transactional,
        group=part.group,
        rewrite=facts.rewrite,
        scan=facts.scan,
        locks=facts.locks(),
        hazards=wanted.shown(hazards),
        read_by=Readers(understood, readers.sqlglot, readers.agree),
        tables=names,
        blocks=facts.blocks(),
        accepted=tuple(accepted),
        about=facts.about,
        empty=facts.is_new(facts.about) and facts.about not in facts.known.filled,
        notes=tuple(facts.notes),
    )


@lru_cache(maxsize=1024)
def _parts_of(text: str, transactions: Transactions) -> tuple[Part, ...]:
    """A file's statements, parsed once for all that read it (with and without a catalogue, for the whole plan)."""
    return read_parts(text, transactions)


def read_file(
    text: str,
    file: str = "",
    *,
    server_major: int = 18,
    known_new: frozenset[str] = frozenset(),
    second_reader: bool = True,
    transactions: Transactions = Transactions.AS_WRITTEN,
    style: bool = False,
    known: Known | None = None,
) -> tuple[Statement, ...]:
    """The facts of every statement of a file, read as one sequence for a server of this major version.

    ``style``: also report what is only regretted later (see hazards/rule.py).
    ``known``: what is known before the first statement; it is added to. ``known_new``: objects that earlier files make (see ``creates``), on which nobody can wait yet. With
    ``second_reader`` off, sqlglot is not asked and every statement says ``failed`` for it. Never raises: what
    cannot be parsed or carried out is a statement of kind ``unknown`` that is assumed to lock everything.
    """
    known = known if known is not None else Known(server_major=server_major)
    known.new |= known_new
    hot: dict[int, set[str]] = {}
    scans: set[int] = set()
    statements: list[Statement] = []
    comments = Comments(text)
    wanted = _Wanted(file, second_reader, style)
    for part in _parts_of(text, transactions):
        facts = _facts_of(part, known)
        _unknown_hazard(part, facts)
        _transaction_hazards(part, facts, hot, scans)
        statements.append(replace(_statement(part, facts, comments, wanted), ordinal=len(statements) + 1))
        facts.remember()
        resolve.after(facts)
    known.unvalidated = dict.fromkeys(known.unvalidated)
    if statements and (rest := wanted.shown(comments.rest())):
        statements[-1] = replace(statements[-1], hazards=statements[-1].hazards + rest)
    return tuple(statements)


def twice_read(statements: Iterable[Statement]) -> tuple[Statement, ...]:
    """The statements with sqlglot's reading, which ``read_file`` leaves out with ``second_reader`` off."""
    return tuple(
        replace(
            one,
            read_by=replace(
                second_reading(one.sql, one.tables, understood=one.kind != UNKNOWN), postgresql=one.read_by.postgresql
            ),
        )
        for one in statements
    )


def creates(statements: Iterable[Statement]) -> frozenset[str]:
    """The names of the objects that these statements make and leave in place, for ``known_new`` of later files."""
    names: set[str] = set()
    for statement in statements:
        new = {lock.object for lock in statement.locks if lock.new}
        if statement.kind.startswith("DROP "):
            names -= new
        else:
            names |= new
    return frozenset(names)
