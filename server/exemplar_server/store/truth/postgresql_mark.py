"""How many changes one server has acknowledged, kept outside of PostgreSQL, so that losing some is never silent.

A copy of last week, a standby that was behind, another database: each is sound by itself. A server counts its changes
in a row of its own, in the same transactions, and keeps the number in its data directory too. What lacks some of them
is told at the start, and by the first change after a database came back.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import structlog

from exemplar_server.errors import StartError, UnavailableError
from exemplar_server.store.truth.database import Connection
from exemplar_server.store.truth.high_water_mark import HighWaterMark, Mark
from exemplar_server.store.truth.identity import refuse_loss

MARK = "acknowledged.mark"

_COUNT = (
    "INSERT INTO servers (id, changes) VALUES (?, 1)"
    " ON CONFLICT (id) DO UPDATE SET changes = servers.changes + 1 RETURNING changes"
)
_log = structlog.get_logger()


class AcknowledgedChanges:
    """What one server, known by its data directory, has committed to a database."""

    def __init__(self, directory: Path, database: str, connection: Connection, accept_loss: bool) -> None:
        """Compare a database with the directory's mark; a directory without one begins anew.

        Args:
            directory: the server's; where nothing can be written there, a restart begins anew.
            database: its name, for people.
            connection: to it.
            accept_loss: go on where something is lost; it is logged.

        Raises:
            StartError: it lacks changes that this server acknowledged.
        """
        self._database = database
        directory.mkdir(parents=True, exist_ok=True)
        self._mark = HighWaterMark(directory, MARK)
        self._kept = os.access(directory, os.W_OK)
        if not self._kept:
            _log.warning("no mark of what was acknowledged is kept", reason=f"{directory} cannot be written")
        found = self._read(accept_loss)
        if found is not None and (lost := found.changes - _held(connection, found.store_id)) > 0:
            refuse_loss(
                f"{database} lacks {lost:,} changes of the {found.changes:,} that this server acknowledged to it, as "
                f"where an older copy or another database was put in its place, or a standby that was behind took "
                f"over. For another database, give another --data-dir than {directory}",
                accept_loss,
            )
            found = None
        if found is None:
            found = Mark(uuid.uuid4().hex, 0)
            if self._kept:
                self._mark.replace(found)
        self._server, self._changes = found.store_id, found.changes

    def count(self, connection: Connection) -> int:
        """Count a transaction as this server's, and return how many there are with it.

        Raises:
            UnavailableError: the database lacks some that were acknowledged.
        """
        changes: int = connection.execute(_COUNT, (self._server,)).fetchone()[0]
        if changes <= self._changes:
            raise UnavailableError(
                "STORE_REPLACED",
                f"{self._database} lacks {self._changes - changes + 1:,} changes that this server acknowledged; "
                "nothing is written any more. Restart the server, which says how to go on",
            )
        return changes

    def acknowledge(self, changes: int) -> None:
        """Have on disk that so many were committed.

        Raises:
            UnavailableError: it cannot be written.
        """
        self._changes = max(changes, self._changes)
        if self._kept:
            self._mark.write(Mark(self._server, self._changes))

    def close(self) -> None:
        """Let go of the file."""
        self._mark.close()

    def _read(self, accept_loss: bool) -> Mark | None:
        try:
            return self._mark.read()
        except StartError as error:
            if not accept_loss:
                raise
            _log.warning("loss accepted", reason=str(error))
            return None


def _held(connection: Connection, server: str) -> int:
    found = connection.execute("SELECT changes FROM servers WHERE id = ?", (server,)).fetchone()
    return int(found[0]) if found else 0
