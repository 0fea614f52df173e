"""The rows of exemplars: each with its description, embedding and image, in the order in which they were given.

A position is where an exemplar stands among those of its class, and is never written anew: one that is removed leaves
a gap. Functions over a connection; transactions are the caller's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from exemplar_encoder import EncodedImage, Region
from exemplar_encoder.arrays import Floats
from exemplar_server.store.records import Exemplar, NewExemplar
from exemplar_server.store.truth.checksums import checksum, damaged
from exemplar_server.store.truth.database import Connection

_NAMES = ("class", "position", "sha256", "width", "height", "format", "size_bytes", "region", "embedding")
_COLUMNS = ", ".join(_NAMES)
_AT_ONCE = 1000


def add(connection: Connection, exemplars: Mapping[int, Sequence[NewExemplar]]) -> None:
    """Write all exemplars of the classes in some rows, which have none."""
    connection.executemany(
        f"INSERT INTO exemplars ({_COLUMNS}, checksum, image) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [_written(row, place, item) for row, items in exemplars.items() for place, item in enumerate(items)],
    )


def append(connection: Connection, row: int, exemplars: Sequence[NewExemplar]) -> None:
    """Write exemplars of the class in `row`, after those that it has."""
    last = connection.execute("SELECT coalesce(max(position), -1) FROM exemplars WHERE class = ?", (row,))
    connection.executemany(
        f"INSERT INTO exemplars ({_COLUMNS}, checksum, image) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [_written(row, place, item) for place, item in enumerate(exemplars, last.fetchone()[0] + 1)],
    )


def remove(connection: Connection, row: int, sha256: str) -> None:
    """Delete the exemplar of this name of the class in `row`."""
    connection.execute("DELETE FROM exemplars WHERE class = ? AND sha256 = ?", (row, sha256))


def remove_all(connection: Connection, rows: Sequence[int]) -> None:
    """Delete all exemplars of the classes in `rows`."""
    connection.executemany("DELETE FROM exemplars WHERE class = ?", [(row,) for row in rows])


def descriptions(connection: Connection, gallery: str, classes: Mapping[int, str]) -> dict[int, list[Exemplar]]:
    """Describe the exemplars of classes, which are given by row with their ids. Raises `DataLossError`."""
    found: dict[int, list[Exemplar]] = {row: [] for row in classes}
    for columns in _rows(connection, gallery, classes):
        found[columns[0]].append(_description(columns))
    if bare := [classes[row] for row, items in found.items() if not items]:
        raise damaged(gallery, bare, "the list of exemplars")
    return found


def embeddings(connection: Connection, gallery: str, class_id: str, row: int) -> dict[str, Floats]:
    """Return the embeddings of a class's exemplars by SHA-256. Raises `DataLossError`."""
    rows = _rows(connection, gallery, {row: class_id})
    return {columns[2]: np.frombuffer(columns[8], np.float32) for columns in rows}


def with_image(
    connection: Connection, gallery: str, class_id: str, row: int, sha256: str
) -> tuple[bytes, Exemplar] | None:
    """Return an exemplar's image and description; None where the class has no such exemplar."""
    query = f"SELECT checksum, {_COLUMNS}, image FROM exemplars WHERE class = ? AND sha256 = ?"
    found = connection.execute(query, (row, sha256)).fetchone()
    if found is None:
        descriptions(connection, gallery, {row: class_id})  # one whose name is damaged may be the one asked for
        return None
    item = _whole(gallery, class_id, found)
    return item.image, item.exemplar


def whole(connection: Connection, gallery: str, classes: Mapping[int, str]) -> dict[int, list[NewExemplar]]:
    """Return the exemplars of classes with their images; as `descriptions`."""
    found: dict[int, list[NewExemplar]] = {row: [] for row in classes}
    for columns in _select(connection, classes, ", image"):
        found[columns[1]].append(_whole(gallery, _owner(gallery, classes, columns), columns))
    return found


def raw(connection: Connection, rows: Sequence[int]) -> dict[int, list[Sequence[Any]]]:
    """Read the exemplars of the classes in `rows` as they are written, unchecked: checksum, columns and image."""
    found: dict[int, list[Sequence[Any]]] = {}
    for columns in _select(connection, dict.fromkeys(rows, ""), ", image"):
        found.setdefault(columns[1], []).append(columns)
    return found


def problem(found: Sequence[Any]) -> str:
    """Return what is wrong with an exemplar of `raw`, empty where nothing is."""
    stored, *columns, image = found
    if checksum(*columns) != stored:
        return "its row does not match its checksum"
    if _sha256(columns, image) != columns[2]:
        return "its image does not match its SHA-256"
    return ""


def whole_of(found: Sequence[Any]) -> NewExemplar:
    """Return an exemplar of `raw` that has no problem."""
    _, *columns, image = found
    return NewExemplar(_description(columns), image, np.frombuffer(columns[8], np.float32))


def _sha256(columns: Sequence[Any], image: bytes) -> str:
    return EncodedImage(image, None if columns[7] is None else Region.parse(columns[7])).sha256()


def _written(row: int, position: int, item: NewExemplar) -> tuple[Any, ...]:
    of = item.exemplar
    region = None if of.region is None else str(of.region)
    description = (of.sha256, of.width, of.height, of.format, of.size_bytes, region)
    columns = (row, position, *description, np.ascontiguousarray(item.embedding, np.float32).tobytes())
    return (*columns, checksum(*columns), item.image)


def _description(columns: Sequence[Any]) -> Exemplar:
    sha256, width, height, found, size_bytes, region = columns[2:8]
    return Exemplar(sha256, width, height, found, size_bytes, None if region is None else Region.parse(region))


def _whole(gallery: str, class_id: str, found: Sequence[Any]) -> NewExemplar:
    *rest, image = found
    columns = _intact(gallery, class_id, rest)
    described = _description(columns)
    if EncodedImage(image, described.region).sha256() != described.sha256:
        raise damaged(gallery, [class_id], "the exemplar's image")
    return NewExemplar(described, image, np.frombuffer(columns[8], np.float32))


def _rows(connection: Connection, gallery: str, classes: Mapping[int, str]) -> Iterator[Sequence[Any]]:
    for found in _select(connection, classes):
        yield _intact(gallery, _owner(gallery, classes, found), found)


def _owner(gallery: str, classes: Mapping[int, str], found: Sequence[Any]) -> str:
    """Return the id of the class that an exemplar belongs to; an index that is damaged leads to another's."""
    if found[1] not in classes:
        raise damaged(gallery, sorted(classes.values()), "an exemplar")
    return classes[found[1]]


def _select(connection: Connection, classes: Mapping[int, str], more: str = "") -> Iterator[Sequence[Any]]:
    rows = list(classes)
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE]
        marks = ", ".join("?" * len(part))
        query = f"SELECT checksum, {_COLUMNS}{more} FROM exemplars WHERE class IN ({marks}) ORDER BY class, position"
        yield from connection.execute(query, part)


def _intact(gallery: str, class_id: str, found: Sequence[Any]) -> Sequence[Any]:
    stored, *columns = found
    if checksum(*columns) != stored:
        raise damaged(gallery, [class_id], "the exemplar")
    return columns
