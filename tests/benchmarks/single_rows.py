"""Traffic of single rows alone, five writes to one read, as the published figures of other engines are taken.

The shipped plan's own traffic also copies 20 rows at once: such calls make its p99, and each of their rows is carried.
"""

from __future__ import annotations

from marketdata.traffic import Workload

WEIGHTS = {"insert": 500, "latest": 100}


def workload(conninfo: str, worker: int, seed: int) -> Workload:
    """One worker's traffic; its rows are in its ledger as always."""
    made = Workload(conninfo, worker, seed)
    made.choose_from(WEIGHTS)
    return made
