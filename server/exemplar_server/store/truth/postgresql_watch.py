"""Hears what other processes change in a PostgreSQL database, and when it goes away and comes back."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg

from exemplar_server.store.truth.postgresql_connections import Connections

CHANNEL = "exemplar"
_PAUSE = 0.5


class Watch:
    """A thread with a connection of its own, until `close`."""

    def __init__(
        self, connections: Connections, changed: Callable[[str], None], available: Callable[[bool], None]
    ) -> None:
        """Start to listen; see `Database.watch`."""
        self._connections = connections
        self._changed = changed
        self._available = available
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="postgresql-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Call nobody any more."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        up = True
        while not self._closing.is_set():
            try:
                with self._connections.connect() as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    if not up:
                        self._available(True)
                    up = True
                    self._changed("")  # whatever was announced before was not heard
                    while not self._closing.is_set():
                        for notification in connection.notifies(timeout=_PAUSE):
                            self._changed(notification.payload)
            except psycopg.Error:
                if up:
                    self._available(False)
                up = False
                self._closing.wait(_PAUSE)
