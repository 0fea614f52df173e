"""Hears what other processes change in a PostgreSQL database, and notices when that goes away and comes back."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable

import psycopg
import structlog

from exemplar_server.errors import ServiceError
from exemplar_server.store.truth.postgresql_connections import Connections

CHANNEL = "exemplar"
_PAUSE = 0.5
_log = structlog.get_logger()


class Watch:
    """A thread with a connection of its own, from the first who wants to be told until `close`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._changed: list[Callable[[str], None]] = []
        self._available: list[Callable[[bool], None]] = []
        self._up = True
        self._telling = threading.Lock()
        self._closing = threading.Event()
        self._woken, self._wake = os.pipe()
        self._thread: threading.Thread | None = None

    def on_change(self, changed: Callable[[str], None]) -> None:
        """See `Database.watch`."""
        with self._telling:
            self._changed.append(changed)
            self._start()

    def on_availability(self, tell: Callable[[bool], None]) -> None:
        """See `Database.on_availability`."""
        with self._telling:
            self._available.append(tell)
            self._start()
            if not self._up:
                tell(False)

    def close(self) -> None:
        """Tell nobody any more."""
        if self._closing.is_set():
            return
        self._closing.set()
        os.close(self._wake)
        if self._thread is not None:
            self._thread.join()
        os.close(self._woken)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="postgresql-watch", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                with self._connections.connect() as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    self._set_up(True)
                    self._tell_change("")  # what was announced before was not heard
                    poll = select.poll()
                    poll.register(connection.fileno(), select.POLLIN)
                    poll.register(self._woken, select.POLLIN)
                    while not self._closing.is_set():
                        for notification in connection.notifies(timeout=0):
                            self._tell_change(notification.payload)
                        poll.poll()
            except (psycopg.Error, OSError):  # such as a process without file descriptors left
                self._set_up(False)
                self._closing.wait(_PAUSE)

    def _set_up(self, up: bool) -> None:
        with self._telling:
            if up != self._up:
                self._up = up
                for tell in self._available:
                    tell(up)

    def _tell_change(self, gallery: str) -> None:
        with self._telling:
            changed = list(self._changed)
        for tell in changed:
            try:
                tell(gallery)
            except ServiceError:  # who cannot look now will when it matters
                _log.info("a change was not followed at once", gallery=gallery)
            except Exception:  # noqa: BLE001 - a fault of one who is told is no reason to stop listening
                _log.exception("a change was not followed", gallery=gallery)
