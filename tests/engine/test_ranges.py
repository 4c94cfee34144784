"""Where a batch ends: so many rows further along the key, walked in strides."""

from __future__ import annotations

import pytest

from console.engine import ranges
from console.engine.facts import mapping_facts
from console.journal.connect import connect
from tests.engine.scene import MAPPING, a_database


@pytest.mark.parametrize("stride", [1, 7, 5_000])
def test_strides_end_where_one_walk_ends(database: str, monkeypatch: pytest.MonkeyPatch, stride: int) -> None:
    a_database(database, rows=60).close()
    with connect(database) as conn:
        facts = mapping_facts(conn, MAPPING, "pgferry_archive")
        names = ranges.old_order(MAPPING, facts)
        order = ", ".join(f"o.{name}" for name in names)
        texts = ", ".join(f"o.{name}::text" for name in names)
        keys = [
            dict(zip(names, row, strict=True))
            for row in conn.execute(f"SELECT {texts} FROM {facts.old.name.name} o ORDER BY {order}").fetchall()
        ]
        monkeypatch.setattr(ranges, "STRIDE", stride)
        for low, rows in ((None, 1), (None, 7), (keys[3], 20), (keys[0], len(keys) - 1)):
            at = 0 if low is None else keys.index(low) + 1
            assert ranges.step(conn, facts.old, names, low, None, rows) == keys[at + rows - 1]
        assert ranges.step(conn, facts.old, names, None, None, len(keys) + 1) is None
        assert ranges.step(conn, facts.old, names, keys[2], keys[9], 8) is None, "no further than the upper end"
