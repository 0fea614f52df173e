"""The rows of requests that were answered: what a repeated one is answered with, for `KEPT_FOR`.

Functions over a connection; transactions are the caller's.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from exemplar_server.errors import DataLossError, InvalidArgumentError
from exemplar_server.store.request import KEPT_FOR, Effect, Request
from exemplar_server.store.schema import checksum

_KEPT_MICROS = int(KEPT_FOR.total_seconds() * 1_000_000)

# More than the one that is kept, so that they go; and few, so that nobody waits for all those of a busy day to go.
_DROP = "DELETE FROM requests WHERE rowid IN (SELECT rowid FROM requests WHERE time <= ? ORDER BY time LIMIT 100)"


def answered(connection: sqlite3.Connection, request: Request[Any], now: int) -> bytes | None:
    """Return the response that a request was given; None where it is new.

    Args:
        connection: to read with.
        request: the request.
        now: microseconds since the epoch.

    Raises:
        InvalidArgumentError: its id was used for another request.
        DataLossError: the response is damaged.
    """
    query = "SELECT checksum, id, method, digest, response, time FROM requests WHERE id = ? AND time > ?"
    found = connection.execute(query, (request.id, now - _KEPT_MICROS)).fetchone()
    if found is None:
        return None
    stored, *columns = found
    if checksum(*columns) != stored:
        raise DataLossError(
            "DATA_CORRUPT",
            f"the response kept for request {request.id} does not match its checksum; read what you meant to change, "
            "and use a new request_id where it is still to be changed",
            {"request_id": request.id},
        )
    _, method, digest, response, _ = columns
    if (method, digest) != (request.method, request.digest):
        raise InvalidArgumentError(
            "REQUEST_ID_REUSED",
            f"request_id: {request.id} was the id of another request, of {method}; use a new one for each request",
            {"field": "request_id"},
        )
    return bytes(response)


def keep(connection: sqlite3.Connection, request: Request[Effect] | None, effect: Effect, now: int) -> None:
    """Write down the response to a request, if there is one, and drop some of those that were kept long enough."""
    if request is None:
        return
    connection.execute(_DROP, (now - _KEPT_MICROS,))
    columns = (request.id, request.method, request.digest, request.response(effect), now)
    connection.execute(
        "INSERT OR REPLACE INTO requests (id, method, digest, response, time, checksum) VALUES (?, ?, ?, ?, ?, ?)",
        (*columns, checksum(*columns)),
    )
