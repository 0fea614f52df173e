"""Every row of a truth read and checked, so that damage is named before somebody needs what is damaged.

Functions over a connection whose statements all see one state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from exemplar_encoder import class_embedding
from exemplar_server.errors import DataLossError
from exemplar_server.store.records import Gallery, NewExemplar
from exemplar_server.store.truth import class_rows, exemplar_rows, gallery_rows, request_rows
from exemplar_server.store.truth.checksums import checksum
from exemplar_server.store.truth.database import Connection

# A page of classes is read with its images.
_PAGE = 64

# Of the greatest value: another machine may round a mean differently.
_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong, and where; `gallery` and `class_id` are empty where it is in none."""

    gallery: str
    class_id: str
    problem: str


def gallery(connection: Connection, gallery_id: str, advance: Callable[[int], None]) -> Iterator[Damage]:
    """Read all that a gallery holds, and yield what is wrong."""
    try:
        held = gallery_rows.read(connection, gallery_id)
    except DataLossError:
        yield Damage(gallery_id, "", "the gallery's own row does not match its checksum")
        return
    count, after = 0, 0
    while page := class_rows.raw(connection, gallery_id, after, _PAGE):
        exemplars = exemplar_rows.raw(connection, [row for row, *_ in page])
        for row in page:
            for problem in _class(held, row, exemplars.get(row[0], [])):
                yield Damage(gallery_id, str(row[3]), problem)
        count, after = count + len(page), page[-1][0]
        advance(len(page))
    if count != held.class_count:
        yield Damage(gallery_id, "", f"it has {count:,} classes where {held.class_count:,} were stored")


def beside_galleries(connection: Connection) -> Iterator[Damage]:
    """Yield what is wrong with kept responses, and rows that belong to nothing."""
    for request_id in request_rows.damaged(connection):
        yield Damage("", "", f"the response kept for request {request_id} does not match its checksum")
    for what, query in (
        ("classes of no gallery", "SELECT count(*) FROM classes WHERE gallery NOT IN (SELECT id FROM galleries)"),
        ("exemplars of no class", "SELECT count(*) FROM exemplars WHERE class NOT IN (SELECT row FROM classes)"),
    ):
        count = connection.execute(query).fetchone()[0]
        if count:
            yield Damage("", "", f"the database holds {what} ({count:,})")


def _class(held: Gallery, found: Sequence[Any], exemplars: Sequence[Sequence[Any]]) -> Iterator[str]:
    row, stored, *columns = found
    intact = checksum(row, *columns) == stored
    if not intact:
        yield "its row does not match its checksum"
    if not exemplars:
        yield "it has no exemplar"
    embeddings = []
    for item in exemplars:
        problem = exemplar_rows.problem(item)
        whole: NewExemplar | None = None if problem else exemplar_rows.whole_of(item)
        if whole is None:
            yield f"its exemplar {item[3]}: {problem}"
        elif whole.embedding.size != held.dimension:
            yield f"its exemplar {item[3]}: {whole.embedding.size} values where {held.dimension} belong"
        else:
            embeddings.append(whole.embedding)
    if not intact:
        return
    embedding = np.frombuffer(columns[4], np.float32)
    if embedding.size != held.dimension:
        yield f"its embedding has {embedding.size} values where {held.dimension} belong"
    elif exemplars and len(embeddings) == len(exemplars):
        expected = class_embedding(np.stack(embeddings))
        if np.abs(embedding - expected).max() > _TOLERANCE * max(1.0, float(np.abs(expected).max())):
            yield "its embedding is not that of its exemplars"
