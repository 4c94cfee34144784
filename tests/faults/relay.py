"""A line between a client and the server that can go dead without a word: no FIN, no RST, both ends open and silent."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo


class Relay:
    """Carries bytes both ways between a TCP port of its own and the server's socket, until ``cut``.

    ``port`` is one that an earlier relay had, 0 any.
    """

    def __init__(self, conninfo: str, port: int = 0) -> None:
        parts = conninfo_to_dict(conninfo)
        self._server = str(Path(str(parts["host"])) / f".s.PGSQL.{parts['port']}")
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self.conninfo = make_conninfo(conninfo, host="127.0.0.1", port=self.port)
        self._sockets: list[socket.socket] = [self._listener]
        self._dead = threading.Event()
        self._flows = threading.Event()
        self._flows.set()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """From now on nothing passes, and nobody is told."""
        self._dead.set()

    def hold(self) -> None:
        """Nothing passes until ``let_go``; nothing is lost either."""
        self._flows.clear()

    def let_go(self) -> None:
        """What waited passes, and all else again."""
        self._flows.set()

    def close(self) -> None:
        """Close every end; whoever waits at one gets an error."""
        self._closed.set()
        self._flows.set()
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        for one in self._sockets:
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self._closed.is_set():
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                self._sockets += [client, server]
                server.connect(self._server)
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                data = source.recv(65536)
                self._flows.wait()
                if self._dead.is_set():
                    return
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(data)


@contextlib.contextmanager
def relay(conninfo: str) -> Iterator[Relay]:
    """A line to the server of ``conninfo``, closed at the end of the block."""
    made = Relay(conninfo)
    try:
        yield made
    finally:
        made.close()
