"""The expected calibration error, against a loop over ten bins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exemplar_trainer.evaluation.open_set import reliability


@given(rows=st.lists(st.tuples(st.integers(0, 1000).map(lambda n: n / 1000), st.booleans()), min_size=1, max_size=60))
def test_the_error_is_what_a_loop_over_the_bins_finds(rows: list[tuple[float, bool]]) -> None:
    error, bins = reliability(np.array([p for p, _ in rows]), np.array([right for _, right in rows]))
    expected = []
    for place in range(10):
        inside = [(p, right) for p, right in rows if min(int(p * 10), 9) == place]
        if inside:
            stated = sum(p for p, _ in inside) / len(inside)
            share = sum(right for _, right in inside) / len(inside)
            expected.append((stated, share, len(inside) / len(rows)))
    assert list(bins) == [pytest.approx(row) for row in expected]
    assert error == pytest.approx(sum(abs(stated - share) * weight for stated, share, weight in expected))
