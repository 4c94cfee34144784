"""A model in Python of what the scene's tables must hold after writes through either shape."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from console.journal.connect import Conn

OldKey = tuple[datetime, str, str]
NewKey = tuple[datetime, int]
Value = tuple[Decimal | None, str | None]  # amount, note

BASE = datetime(2026, 1, 1, tzinfo=UTC)
MOST = Decimal(1_000_000)  # the new shape takes less than this, the old one more than 0
_SPELLED = {"S0": ["S0"], "s0": ["S0"], "S1": ["S1"], "S2": ["S2"], "S": ["S1", "S2"]}
_GOODS = {("S" + str(i % 3), f"item{i}"): i for i in range(1, 31)} | {("S1", "twin"): 31, ("S2", "twin"): 32}
_NAMES = {good: names for names, good in _GOODS.items()}


@dataclass(frozen=True)
class Op:
    """One write, in numbers that are turned into rows by what is there."""

    kind: str  # insert, upsert, update, key, delete
    pick: int  # which row, which place
    spelling: int
    amount: Decimal | None
    note: str | None


def resolve(shop: str, item: str) -> tuple[int, bool] | None:
    """(good, canonical) of an old row's names, None when nothing or several match."""
    found = [_GOODS[one, item] for one in _SPELLED.get(shop, []) if (one, item) in _GOODS]
    return (found[0], shop in ("S0", "S1", "S2")) if len(found) == 1 else None


def taken_by_new(key: OldKey, value: Value) -> NewKey | None:
    """The new key under which the new shape holds an old row, None where it refuses it."""
    found = resolve(key[1], key[2])
    refused = found is None or key[1] == key[2] or (value[0] is not None and value[0] >= MOST)
    return None if refused or found is None else (key[0], found[0])


@dataclass
class Model:
    """The old table, and of the new one what only it holds."""

    old: dict[OldKey, Value] = field(default_factory=dict)
    refused: dict[NewKey, Value] = field(default_factory=dict)  # in new; the old shape does not take it
    stray: dict[NewKey, Value] = field(default_factory=dict)  # written through new while nothing carried it back

    def preimages(self, key: NewKey) -> list[OldKey]:
        """Old rows that the new shape would hold under this key, the one that it does hold first."""
        good = [old for old, value in self.old.items() if taken_by_new(old, value) == key]
        return sorted(good, key=lambda old: (old[1] not in ("S0", "S1", "S2"), *old))

    def new(self) -> dict[NewKey, Value]:
        """What the new table holds while both directions, or the forward one after its copy, are on."""
        keys = {taken_by_new(*row) for row in self.old.items()} - {None}
        held = {key: self.old[self.preimages(key)[0]] for key in keys if key is not None}
        return held | self.refused | self.stray

    def _touched(self, key: OldKey) -> None:
        """An old row was written: the new table holds what the old one does under its new key."""
        found = resolve(key[1], key[2])
        if found is not None:
            self.refused.pop((key[0], found[0]), None)
            self.stray.pop((key[0], found[0]), None)

    def through_old(self, conn: Conn, op: Op) -> None:
        """Carry the write out on the old table and here."""
        keys = sorted(self.old)
        key = keys[op.pick % len(keys)] if keys else None
        place = self._old_place(op)
        if op.kind in ("insert", "upsert") or key is None:
            if op.kind == "insert" and place in self.old:
                return
            conn.execute(
                "INSERT INTO sales VALUES (%s, %s, %s, %s, %s) ON CONFLICT (at, shop, item)"
                " DO UPDATE SET amount = excluded.amount, note = excluded.note",
                (*place, op.amount, op.note),
            )
            self.old[place] = (op.amount, op.note)
            self._touched(place)
            return
        where = " WHERE (at, shop, item) = (%s, %s, %s)"
        if op.kind == "update":
            conn.execute("UPDATE sales SET amount = %s, note = %s" + where, (op.amount, op.note, *key))
            self.old[key] = (op.amount, op.note)
        elif op.kind == "delete":
            conn.execute("DELETE FROM sales" + where, key)
            del self.old[key]
        elif place not in self.old:
            conn.execute("UPDATE sales SET at = %s, shop = %s, item = %s" + where, (*place, *key))
            self.old[place] = self.old.pop(key)
            self._touched(place)
        self._touched(key)

    @staticmethod
    def _old_place(op: Op) -> OldKey:
        spellings = ("S0", "s0", "S1", "S2", "S", "unknown", "item1")
        items = ("item1", "item2", "item3", "item6", "twin", "nothing")
        at = BASE + timedelta(seconds=op.pick % 150 + 1)
        return at, spellings[op.spelling % len(spellings)], items[op.spelling // 7 % len(items)]

    def through_new(self, conn: Conn, op: Op, *, carried: bool, refusable: bool) -> None:
        """Carry the write out on the new table and here; ``carried``: the reverse sync is on."""
        amount = op.amount
        if amount is not None and amount >= MOST:
            amount = MOST - 1
        if amount is not None and refusable and op.spelling % 5 == 0:
            amount = -amount
        value = (amount, op.note)
        held = self.new()
        keys = sorted(held)
        place = (BASE + timedelta(seconds=op.pick % 150 + 1), op.spelling % 32 + 1)
        key = keys[op.pick % len(keys)] if keys else None
        where = " WHERE (at, good_id) = (%s, %s)"
        if op.kind in ("insert", "upsert") or key is None:
            if op.kind == "insert" and place in held:
                return
            conn.execute(
                "INSERT INTO sales_v2 VALUES (%s, %s, %s, %s) ON CONFLICT (at, good_id)"
                " DO UPDATE SET amount = excluded.amount, note = excluded.note",
                (*place, *value),
            )
            self._holds(place, value, carried)
        elif op.kind == "update" or not carried:
            conn.execute("UPDATE sales_v2 SET amount = %s, note = %s" + where, (*value, *key))
            self._holds(key, value, carried)
        elif op.kind == "delete":
            conn.execute("DELETE FROM sales_v2" + where, key)
            self._gone(key)
        elif place not in held:
            conn.execute("UPDATE sales_v2 SET at = %s, good_id = %s" + where, (*place, *key))
            self._gone(key)
            self._holds(place, held[key], carried)

    def _gone(self, key: NewKey) -> None:
        self.refused.pop(key, None)
        for old in self.preimages(key):
            del self.old[old]

    def _holds(self, key: NewKey, value: Value, carried: bool) -> None:
        self.refused.pop(key, None)
        self.stray.pop(key, None)
        if not carried:
            self.stray[key] = value
        elif value[0] is not None and value[0] <= 0:
            self.refused[key] = value
        else:
            theirs = self.preimages(key)
            self.old[theirs[0] if theirs else (key[0], *_NAMES[key[1]])] = value

    def carry_strays(self) -> None:
        """Going back past the copy carries what only the new table holds."""
        strays, self.stray = self.stray, {}
        for key, value in strays.items():
            if self.new().get(key) != value:
                self._holds(key, value, True)

    def check_old(self, conn: Conn, place: str = "sales") -> None:
        """The old table holds exactly this, row for row."""
        rows = _rows(conn.execute(f"SELECT at, shop, item, amount, note FROM {place}"), 3)
        assert rows == self.old, _difference(rows, self.old)

    def check_new(self, conn: Conn) -> None:
        """The new table holds exactly what follows."""
        rows = _rows(conn.execute("SELECT at, good_id, amount, note FROM sales_v2"), 2)
        assert rows == self.new(), _difference(rows, self.new())


def _rows(rows: Iterable[tuple[Any, ...]], key: int) -> dict[Any, Value]:
    return {(row[0].astimezone(UTC), *row[1:key]): (row[key], row[key + 1]) for row in rows}


def _difference(actual: dict[Any, Value], wanted: dict[Any, Value]) -> str:
    wrong = [(k, actual.get(k), wanted.get(k)) for k in {*actual, *wanted} if actual.get(k) != wanted.get(k)]
    return f"(key, is, should be): {wrong[:5]}"


def of_table(conn: Conn) -> Model:
    """A model that begins with what the old table holds."""
    return Model(_rows(conn.execute("SELECT at, shop, item, amount, note FROM sales"), 3))
