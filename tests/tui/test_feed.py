"""The thread that reads the run: a server that says nothing is told, wherever it is silent."""

from __future__ import annotations

import threading
import time

from textual.message import Message

from console.tui.feed import Feed
from console.tui.messages import FeedLost, RunChanged
from tests.tui.world import CannedWorld


class HangingWorld(CannedWorld):
    """Reads are answered; the connection that waits for word of a change is not."""

    def __init__(self) -> None:
        super().__init__()
        self.free = threading.Event()

    def wait(self, seconds: float) -> None:
        self.free.wait(30.0)


def test_a_wait_that_hangs_is_told_too() -> None:
    world = HangingWorld()
    told: list[Message] = []
    feed = Feed(world, told.append, per_second=50.0, silence=0.2)
    feed.start()
    try:
        end = time.monotonic() + 20.0
        while not any(isinstance(one, FeedLost) for one in told) and time.monotonic() < end:
            time.sleep(0.02)
    finally:
        world.free.set()
        feed.stop()
    assert [type(one) for one in told[:2]] == [RunChanged, FeedLost]
