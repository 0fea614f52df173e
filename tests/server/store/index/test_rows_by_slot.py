"""Rows are found in the slots that they were last put into, whatever order they came in."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from exemplar_server.store.index.rows_by_slot import RowsBySlot

some_rows = st.lists(st.integers(1, 12), unique=True, max_size=6)


@given(st.lists(st.tuples(st.booleans(), some_rows), max_size=12), st.booleans())
def test_any_sequence_of_changes_leaves_what_a_dict_would_hold(
    changes: list[tuple[bool, list[int]]], reopened: bool
) -> None:
    slots = RowsBySlot()
    model: dict[int, int] = {}
    for add, rows in changes:
        numbers = np.array(rows, np.int64)
        if add:
            places = slots.add(numbers)
            model |= dict(zip(rows, places, strict=True))
        else:
            slots.remove(numbers)
            for row in rows:
                model.pop(row, None)
        if reopened:
            slots = RowsBySlot(slots.keys[: len(slots)].copy(), slots.rows[: len(slots)].copy())
        assert slots.find(np.arange(0, 14)).tolist() == [model.get(row, -1) for row in range(14)]
        assert sorted(slots.rows[slots.live()].tolist()) == sorted(model)
        assert (slots.held, slots.stale) == (len(model), len(slots) - len(model))
