"""Which row is in which slot of an index that can only append.

New rows have greater numbers than all before, so that slots are mostly in order of row and a row is found by halving;
those that were replaced are elsewhere, and few. Twenty-four bytes a slot, and nothing for each row.
"""

from __future__ import annotations

import numpy as np

from exemplar_encoder.arrays import Ints

_NONE = -1


class RowsBySlot:
    """See the module.

    Attributes:
        held: how many rows there are.
        rows: int64, the row in each slot, -1 where it is stale; longer than there are slots.
        keys: int64, never falling: the row that a slot was filled for, or that of the slot before.
    """

    def __init__(self, keys: Ints | None = None, rows: Ints | None = None) -> None:
        """Begin with nothing, or with what another had."""
        self.keys = np.empty(0, np.int64) if keys is None else keys
        self.rows = np.empty(0, np.int64) if rows is None else rows
        self._count = len(self.rows)
        self.held = int((self.rows != _NONE).sum())
        live = self.live()
        repeated = self.keys[live] == self.keys[np.maximum(live - 1, 0)]
        elsewhere = live[(self.keys[live] != self.rows[live]) | (repeated & (live > 0))]
        self._elsewhere = dict(zip(self.rows[elsewhere].tolist(), elsewhere.tolist(), strict=True))

    def __len__(self) -> int:
        """Return how many slots there are."""
        return self._count

    @property
    def stale(self) -> int:
        """How many slots hold no row any more."""
        return self._count - self.held

    def live(self) -> Ints:
        """Return the slots that hold rows, int64 `[n]`."""
        return np.flatnonzero(self.rows[: self._count] != _NONE)

    def add(self, rows: Ints) -> range:
        """Fill new slots with `rows` int64 `[n]`, none of them twice; return which. Their old slots become stale."""
        self.remove(rows)
        first, self._count = self._count, self._count + len(rows)
        if self._count > len(self.rows):
            room = self._count + self._count // 2
            self.keys, self.rows = (_grown(values, first, room) for values in (self.keys, self.rows))
        last = int(self.keys[first - 1]) if first else _NONE
        keys = np.maximum.accumulate(np.maximum(rows, last))
        self.keys[first : self._count], self.rows[first : self._count] = keys, rows
        # A key that stands twice is that of the first slot with it.
        before = np.concatenate([[last], keys[:-1]])
        for place in np.flatnonzero((keys != rows) | (keys == before)).tolist():
            self._elsewhere[int(rows[place])] = first + place
        self.held += len(rows)
        return range(first, self._count)

    def remove(self, rows: Ints) -> None:
        """Make the slots of `rows` int64 `[n]` stale, of those that are held."""
        slots = self.find(rows)
        slots = slots[slots != _NONE]
        for row in self.rows[slots].tolist():
            self._elsewhere.pop(row, None)
        self.rows[slots] = _NONE
        self.held -= len(slots)

    def find(self, rows: Ints) -> Ints:
        """Return the slot of each of `rows` int64 `[n]`, -1 where it is not held."""
        if not self._count or not len(rows):
            return np.full(len(rows), _NONE, np.int64)
        slots = np.minimum(np.searchsorted(self.keys[: self._count], rows), self._count - 1)
        slots = np.where(self.rows[slots] == rows, slots, _NONE)
        if self._elsewhere:
            elsewhere = [self._elsewhere.get(row, _NONE) for row in rows.tolist()]
            slots = np.where(np.array(elsewhere) != _NONE, elsewhere, slots)
        return np.asarray(slots, np.int64)


def _grown(values: Ints, count: int, room: int) -> Ints:
    grown = np.empty(room, np.int64)
    grown[:count] = values[:count]
    return grown
