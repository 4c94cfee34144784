"""PostgreSQL's lock modes: their order, who waits for them, and which mode each ALTER TABLE subcommand takes.

A lock on a table stands for its indexes, its TOAST table, its partitions and children too; one on a view for what it
reads.
"""

from __future__ import annotations

from collections.abc import Iterable

from console.sql.model import Lock

ACCESS_SHARE = "ACCESS SHARE"
ROW_SHARE = "ROW SHARE"
ROW_EXCLUSIVE = "ROW EXCLUSIVE"
SHARE_UPDATE = "SHARE UPDATE EXCLUSIVE"
SHARE = "SHARE"
SHARE_ROW = "SHARE ROW EXCLUSIVE"
EXCLUSIVE = "EXCLUSIVE"
ACCESS_EXCLUSIVE = "ACCESS EXCLUSIVE"

MODES = (ACCESS_SHARE, ROW_SHARE, ROW_EXCLUSIVE, SHARE_UPDATE, SHARE, SHARE_ROW, EXCLUSIVE, ACCESS_EXCLUSIVE)
LEVEL = {mode: level for level, mode in enumerate(MODES, start=1)}
UNKNOWN_OBJECT = "?"

# AlterTableGetLockLevel of the server; a subcommand that is not named here takes ACCESS EXCLUSIVE.
_ALTER_TABLE = {
    "AT_AttachPartition": SHARE_UPDATE,
    "AT_ClusterOn": SHARE_UPDATE,
    "AT_DetachPartitionFinalize": SHARE_UPDATE,
    "AT_DisableTrig": SHARE_ROW,
    "AT_DisableTrigAll": SHARE_ROW,
    "AT_DisableTrigUser": SHARE_ROW,
    "AT_DropCluster": SHARE_UPDATE,
    "AT_EnableAlwaysTrig": SHARE_ROW,
    "AT_EnableReplicaTrig": SHARE_ROW,
    "AT_EnableTrig": SHARE_ROW,
    "AT_EnableTrigAll": SHARE_ROW,
    "AT_EnableTrigUser": SHARE_ROW,
    "AT_ResetOptions": SHARE_UPDATE,
    "AT_SetOptions": SHARE_UPDATE,
    "AT_SetStatistics": SHARE_UPDATE,
    "AT_ValidateConstraint": SHARE_UPDATE,
}

# Storage parameters whose change only keeps other schema changes out (reloptions.c).
_GENTLE_OPTIONS = frozenset(
    {
        "deduplicate_items",
        "fillfactor",
        "log_autovacuum_min_duration",
        "parallel_workers",
        "toast_tuple_target",
        "vacuum_index_cleanup",
        "vacuum_max_eager_freeze_failure_rate",
        "vacuum_truncate",
    }
)


def alter_table_mode(subcommand: str) -> str:
    """The lock an ALTER TABLE subcommand (``AT_AddColumn``) takes on its table."""
    return _ALTER_TABLE.get(subcommand, ACCESS_EXCLUSIVE)


def option_mode(names: Iterable[str]) -> str:
    """The lock for setting these storage parameters."""
    gentle = all(n in _GENTLE_OPTIONS or n.startswith(("autovacuum_", "log_autovacuum")) for n in names)
    return SHARE_UPDATE if gentle else ACCESS_EXCLUSIVE


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def who_waits(locks: Iterable[Lock], doubt: str = "") -> str:
    """In words, what other sessions cannot do while these locks are held. ``doubt``: why that is not known."""
    locks = tuple(locks)
    if doubt:
        return f"unknown, {doubt}: count on reads and writes waiting"
    existing = [lock for lock in locks if not lock.new]
    sure = [lock for lock in existing if lock.basis != "assumed"]
    if any(LEVEL[lock.mode] >= LEVEL[SHARE] for lock in sure) and len(sure) < len(existing):
        strongest = max(LEVEL[lock.mode] for lock in existing if lock.basis == "assumed")
        more = "; those of linked tables perhaps too" if strongest >= LEVEL[SHARE] else ""
        return who_waits(sure) + more
    everything = sorted({lock.object for lock in existing if lock.mode == ACCESS_EXCLUSIVE})
    writes = sorted({lock.object for lock in existing if LEVEL[SHARE] <= LEVEL[lock.mode] < LEVEL[ACCESS_EXCLUSIVE]})
    if not everything and len(writes) == 1:
        return "writes wait; reads go on"
    words = []
    if everything:
        words.append(f"reads and writes of {_listed(everything)} wait")
    if writes:
        words.append(f"writes of {_listed(writes)} wait; reads go on")
    if words:
        return "; ".join(words)
    if any(lock.mode == SHARE_UPDATE for lock in existing):
        return "other schema changes wait"
    if any(lock.new for lock in locks) and not existing:
        return "new table: no one waits"
    return "nobody waits"
