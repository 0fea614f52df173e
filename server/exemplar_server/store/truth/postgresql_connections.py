"""Connections to PostgreSQL: bounded in number, checked before each use, none of which waits for ever.

Whoever asks makes the connection that is missing. So a database that is away is noticed at once, and one that is back
is used at once.
"""

from __future__ import annotations

import re
import select
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.abc import Buffer
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import PGconn, Ping, TransactionStatus
from psycopg.types.numeric import Int8BinaryDumper
from psycopg.types.string import StrDumperUnknown, TextBinaryLoader

from exemplar_server.errors import StartError, UnavailableError

RawConnection = psycopg.Connection[tuple[Any, ...]]

RETRY_AFTER = 1.0
_MOST = 16
_WAIT = 10.0

# A machine that is gone does not answer, and nothing else would tell. Whoever holds a lock and is stalled loses it.
_DEFAULTS: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "application_name": "exemplar",
    "target_session_attrs": "read-write",  # a standby may be behind what was acknowledged
}
_ESCAPES = "in a password write % as %25, / as %2F, : as %3A and @ as %40"
_OPTIONS = "-c lock_timeout=10s -c idle_in_transaction_session_timeout=30s"


class Connections:
    """The connections of one server process; any thread may ask for one."""

    def __init__(self, url: str) -> None:
        """Read a URL, whose own parameters go before the defaults here.

        Raises:
            StartError: it is none of PostgreSQL's.
        """
        try:
            given = conninfo_to_dict(url)
        except psycopg.ProgrammingError as error:
            problem = str(error).strip()
            if "query parameter" not in problem:  # then what it quotes may hold the password
                problem = problem.partition(': "')[0]
            raise StartError(f"this is no address of a PostgreSQL database: {problem}; {_ESCAPES}") from None
        host, port = str(given.get("host", "")), str(given.get("port", ""))
        if re.search("[^,]@", host) or re.search("[^0-9,]", port):  # parts of a password, most likely
            raise StartError(
                f"this is no address of a PostgreSQL database: its host or its port cannot be one; {_ESCAPES}"
            )
        options = f"{_OPTIONS} {given.pop('options', '')}"
        self._conninfo = make_conninfo(**{**_DEFAULTS, **given, "options": options, "client_encoding": "utf8"})
        self.name = f"PostgreSQL database {given.get('dbname', '')!r} at {given.get('host', 'localhost')}"
        self._free = threading.BoundedSemaphore(_MOST)
        self._idle: deque[RawConnection] = deque()
        self._closed = False

    def wait_for_start(self, seconds: float) -> None:
        """Wait until the database takes connections, or that time is over."""
        deadline = time.monotonic() + seconds
        while PGconn.ping(self._conninfo.encode()) in (Ping.REJECT, Ping.NO_RESPONSE) and time.monotonic() < deadline:
            time.sleep(0.2)

    def connect(self) -> RawConnection:
        """Make a connection of one's own, which commits each statement by itself."""
        connection: RawConnection = psycopg.connect(self._conninfo, autocommit=True)
        adapters = connection.adapters
        adapters.register_dumper(str, _TextDumper)
        adapters.register_loader("text", _TextLoader)
        adapters.register_dumper(int, Int8BinaryDumper)
        # Durable is what was acknowledged, whatever the database does by default.
        connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        )
        return connection

    @contextmanager
    def borrow(self) -> Iterator[RawConnection]:
        """Lend a connection that works, outside of any transaction.

        Raises:
            UnavailableError: all are in use, and stay so.
        """
        if not self._free.acquire(timeout=_WAIT):
            raise busy()
        try:
            connection = self._take()
            try:
                yield connection
            finally:
                self._put_back(connection)
        finally:
            self._free.release()

    def close(self) -> None:
        """Close what is idle now, and the others as they come back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> RawConnection:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return self.connect()
            if _works(connection):
                return connection
            connection.close()

    def _put_back(self, connection: RawConnection) -> None:
        if self._closed or connection.pgconn.transaction_status != TransactionStatus.IDLE:
            connection.close()
        else:
            self._idle.append(connection)


def busy() -> UnavailableError:
    """Return the error for a database that others keep at work."""
    return UnavailableError(
        "STORE_UNAVAILABLE", "the server's database is busy with other calls; try again", retry_after=RETRY_AFTER
    )


def _works(connection: RawConnection) -> bool:
    """Return whether an idle connection works; where the server has said nothing meanwhile, it did not hang up."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if not poll.poll(0):
        return True
    try:
        connection.execute("SELECT")
    except psycopg.Error:
        return False
    return True


# PostgreSQL's text holds every character but NUL.


class _TextDumper(StrDumperUnknown):
    def dump(self, obj: str) -> Buffer | None:
        if "\0" in obj or "\x1b" in obj:
            obj = obj.replace("\x1b", "\x1be").replace("\0", "\x1b0")
        return super().dump(obj)


class _TextLoader(TextBinaryLoader):
    def load(self, data: Buffer) -> str:
        text = str(super().load(data))
        return text.replace("\x1b0", "\0").replace("\x1be", "\x1b") if "\x1b" in text else text
