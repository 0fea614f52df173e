"""From what an index found to the classes of an answer: nearest first, and ties in the order of their ids."""

from __future__ import annotations

import numpy as np

from exemplar_encoder.arrays import Floats, Ints
from exemplar_server.store.records import Candidate, ClassRow


def nearest_rows(rows: Ints, distances: Floats, count: int, considered: int) -> tuple[list[int], list[float]]:
    """Return the rows that may be among the `count` nearest once ties are ordered by id, and distances, ascending.

    There are at least as many distances as rows, and the first of them are those of the rows.
    """
    there = rows >= 0
    rows, distances = rows[there], distances[there]
    if len(rows) > considered:
        near = distances <= np.partition(distances, considered - 1)[considered - 1]
        rows, distances = rows[near], distances[near]
    order = np.argsort(distances, kind="stable")
    rows, distances = rows[order], distances[order]
    told = len(rows) if len(rows) <= count else int(np.searchsorted(distances, distances[count - 1], "right"))
    return rows[:told].tolist(), distances.tolist()


def candidates(rows: list[int], distances: list[float], names: dict[int, ClassRow], count: int) -> list[Candidate]:
    """Return the `count` nearest classes with their names, ties ordered by id; those without a name are left out."""
    found = [(distance, names[row]) for row, distance in zip(rows, distances, strict=False) if row in names]
    found.sort(key=lambda item: (item[0], item[1].class_id))
    return [Candidate(of.class_id, of.display_name, of.attributes, distance) for distance, of in found[:count]]
