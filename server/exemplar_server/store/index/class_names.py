"""The names and attributes of classes that answers told lately, so that most answers need not read them again."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from itertools import islice

import numpy as np

from exemplar_server.store.records import Changes, ClassRow, Version
from exemplar_server.store.truth.truth import Truth

_KEPT = 10_000


class ClassNames:
    """Names of one gallery's classes by row, all of them as of one version. Methods may be called from any thread."""

    def __init__(self, truth: Truth, gallery: str, version: Version) -> None:
        self._truth = truth
        self._gallery = gallery
        self._version = version
        self._names: dict[int, ClassRow] = {}
        self._lock = threading.Lock()

    def of(self, rows: set[int], version: Version) -> dict[int, ClassRow] | None:
        """Return what an answer says of the classes in `rows`, as of a version; None where that has gone by."""
        with self._lock:
            if self._version != version:
                return None
            found = {row: self._names[row] for row in rows if row in self._names}
        if len(found) == len(rows):
            return found
        read, present = self._truth.class_rows(self._gallery, np.array(sorted(rows - found.keys()), np.int64))
        if present != version:
            return None
        with self._lock:
            if self._version == version:
                self._remember(read)
        return found | read

    def follow(self, changes: Changes) -> None:
        """Be as of a later version."""
        with self._lock:
            for row in (*changes.removed.tolist(), *changes.put.rows.tolist(), *changes.put.damaged):
                self._names.pop(row, None)
            self._remember(changes.names)
            self._version = changes.version

    def _remember(self, names: Mapping[int, ClassRow]) -> None:
        """Keep names, and forget the oldest ones beyond the room for them."""
        self._names |= names
        for row in list(islice(self._names, max(0, len(self._names) - _KEPT))):
            del self._names[row]
