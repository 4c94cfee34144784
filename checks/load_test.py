"""check: load_test
title: Both shapes are written at once without an error
phase: 3
severity: error
"""

import threading
import time

import psycopg
from marketdata.models import Pair
from marketdata.store import open_store
from support import connect, is_table, loaded_cache, result, run, sample_pairs, summary, ticker, timed, undone

SECONDS = 3.0
BATCH = 10  # rows a transaction; each is undone


class Writer(threading.Thread):
    """Writes rows in one shape and undoes them, until the time is up. Keys are its own."""

    def __init__(self, number: int, shape: str, pairs: list[Pair], until: float) -> None:
        super().__init__(name=f"{shape} {number}")
        self.shape = shape
        self.first = number * 10_000_000  # its own range of instants
        self.pairs = pairs
        self.until = until
        self.times: list[float] = []
        self.error = ""

    def run(self) -> None:
        try:
            self.write()
        except psycopg.Error as error:
            self.error = str(error).strip().splitlines()[0]

    def write(self) -> None:
        with connect() as conn:
            store = open_store(conn, "legacy" if self.shape == "legacy" else "normalised", loaded_cache(conn))
            while time.monotonic() < self.until:
                for _ in range(BATCH):
                    row = ticker(self.pairs[len(self.times) % len(self.pairs)], self.first + len(self.times))
                    self.times.append(timed(lambda row=row: store.insert(row)))  # type: ignore[misc]
                conn.rollback()


def main() -> None:
    with undone() as conn:
        pairs = sample_pairs(conn, 20)
        shapes = ["normalised", "legacy"] if is_table(conn, "book_ticker_snapshots") else ["normalised"]
    if not pairs:
        result("load_test", "Load on both shapes", True, "no errors", "no symbols to write for")
        return
    until = time.monotonic() + SECONDS
    writers = [Writer(n, shape, pairs, until) for n, shape in enumerate(shapes * 2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    for shape in shapes:
        mine = [writer for writer in writers if writer.shape == shape]
        errors = [writer.error for writer in mine if writer.error]
        times = [ms for writer in mine for ms in writer.times]
        actual = f"{len(errors)} errors, {len(times) / SECONDS:,.0f} rows/s"
        if times:
            actual += f", {summary(times)}"
        rows = [{"error": error} for error in errors]
        result(f"load_test.{shape}", f"Writers of the {shape} shape", not errors, "0 errors", actual, rows)


run(main)
