"""The rows of requests that were answered: what a repeated one is answered with, for `KEPT_FOR`.

Functions over a connection; transactions are the caller's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from exemplar_server.errors import DataLossError, InvalidArgumentError
from exemplar_server.store.records import KeptResponse
from exemplar_server.store.request import KEPT_FOR, Effect, Request
from exemplar_server.store.truth.checksums import checksum
from exemplar_server.store.truth.database import Connection

_KEPT_MICROS = int(KEPT_FOR.total_seconds() * 1_000_000)

# More than the one that is kept, so that they go; and few, so that nobody waits for all those of a busy day to go.
_DROP = "DELETE FROM requests WHERE id IN (SELECT id FROM requests WHERE time <= ? ORDER BY time LIMIT 100)"
_COLUMNS = "id, method, digest, response, time"


def answered(connection: Connection, request: Request[Any], now: int) -> bytes | None:
    """Return the response that a request was given; None where it is new.

    Args:
        connection: to read with.
        request: the request.
        now: microseconds since the epoch.

    Raises:
        InvalidArgumentError: its id was used for another request.
        DataLossError: the response is damaged.
    """
    query = f"SELECT checksum, {_COLUMNS} FROM requests WHERE id = ? AND time > ?"
    found = connection.execute(query, (request.id, now - _KEPT_MICROS)).fetchone()
    if found is None:
        return None
    kept = _kept(found)
    if (kept.method, kept.digest) != (request.method, request.digest):
        raise InvalidArgumentError(
            "REQUEST_ID_REUSED",
            f"request_id: {request.id} was the id of another request, of {kept.method}; "
            "use a new one for each request",
            {"field": "request_id"},
        )
    return kept.response


def keep(connection: Connection, request: Request[Effect] | None, effect: Effect, now: int) -> None:
    """Write down the response to a request, if there is one, and drop some of those that were kept long enough."""
    if request is None:
        return
    connection.execute(_DROP, (now - _KEPT_MICROS,))
    _write(connection, KeptResponse(request.id, request.method, request.digest, request.response(effect), now))


def page(connection: Connection, after: str, limit: int, now: int) -> list[KeptResponse]:
    """Read what is still kept in order of id, from the first id greater than `after`. Raises `DataLossError`."""
    query = f"SELECT checksum, {_COLUMNS} FROM requests WHERE id > ? AND time > ? ORDER BY id LIMIT ?"
    return [_kept(row) for row in connection.execute(query, (after, now - _KEPT_MICROS, limit)).fetchall()]


def damaged(connection: Connection) -> list[str]:
    """Return the ids of the responses that do not match their checksums."""
    found = connection.execute(f"SELECT checksum, {_COLUMNS} FROM requests")
    return [str(columns[0]) for stored, *columns in found if checksum(*columns) != stored]


def load(connection: Connection, responses: Iterable[KeptResponse]) -> None:
    """Write responses of elsewhere; one that is there already stays."""
    for response in responses:
        if connection.execute("SELECT id FROM requests WHERE id = ?", (response.id,)).fetchone() is None:
            _write(connection, response)


def _write(connection: Connection, kept: KeptResponse) -> None:
    columns = (kept.id, kept.method, kept.digest, kept.response, kept.time)
    updates = ", ".join(f"{name} = excluded.{name}" for name in ("method", "digest", "response", "time", "checksum"))
    connection.execute(
        f"INSERT INTO requests ({_COLUMNS}, checksum) VALUES (?, ?, ?, ?, ?, ?)"
        f" ON CONFLICT (id) DO UPDATE SET {updates}",
        (*columns, checksum(*columns)),
    )


def _kept(row: Any) -> KeptResponse:
    stored, *columns = row
    if checksum(*columns) != stored:
        raise DataLossError(
            "DATA_CORRUPT",
            f"the response kept for request {columns[0]} does not match its checksum; read what you meant to change, "
            "and use a new request_id where it is still to be changed",
            {"request_id": str(columns[0])},
        )
    return KeptResponse(*columns)
