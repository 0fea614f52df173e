"""The rows of changes: which classes changed with each revision of a gallery.

They say which, not how: whoever follows reads those classes as they are now. So following twice does no harm, and
nothing is lost between two looks. Functions over a connection; transactions are the caller's.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection

import numpy as np

from exemplar_encoder.arrays import Ints
from exemplar_server.store.records import Gallery, Version
from exemplar_server.store.truth.database import Connection

# Whoever is further behind builds anew.
KEPT_REVISIONS = 10_000


def record(connection: Connection, gallery: Gallery, rows: Collection[int]) -> None:
    """Write down that `rows` changed with the gallery's present revision, and drop what was kept long enough."""
    mark = secrets.randbits(62)
    runs = _runs(rows) or [(None, None)]
    connection.executemany(
        "INSERT INTO changes (gallery, revision, mark, first, last) VALUES (?, ?, ?, ?, ?)",
        [(gallery.id, gallery.revision, mark, first, last) for first, last in runs],
    )
    last_dropped = gallery.revision - KEPT_REVISIONS
    if last_dropped > 0:
        connection.execute("DELETE FROM changes WHERE gallery = ? AND revision <= ?", (gallery.id, last_dropped))


def since(connection: Connection, gallery: str, version: Version) -> Ints | None:
    """Return the rows int64 `[n]`, ascending, that changed after a state; None where that is not known."""
    query = "SELECT mark FROM changes WHERE gallery = ? AND revision = ?"
    if (version.mark,) not in [tuple(row) for row in connection.execute(query, (gallery, version.revision))]:
        return None
    query = "SELECT first, last FROM changes WHERE gallery = ? AND revision > ? AND first IS NOT NULL"
    runs = connection.execute(query, (gallery, version.revision)).fetchall()
    return np.unique(np.concatenate([np.empty(0, np.int64), *(np.arange(a, b + 1, dtype=np.int64) for a, b in runs)]))


def forget(connection: Connection, gallery: str) -> None:
    """Drop all that is known of a gallery's changes; whoever follows it builds anew."""
    connection.execute("DELETE FROM changes WHERE gallery = ?", (gallery,))


def _runs(rows: Collection[int]) -> list[tuple[int | None, int | None]]:
    """Return the first and last of each run of consecutive numbers."""
    numbers = np.unique(np.fromiter(rows, np.int64, len(rows)))
    if not len(numbers):
        return []
    ends = np.flatnonzero(np.diff(numbers) != 1)
    firsts, lasts = numbers[np.r_[0, ends + 1]], numbers[np.r_[ends, len(numbers) - 1]]
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))
