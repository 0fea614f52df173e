"""The one vector of a class, against sums over plain floats."""

from __future__ import annotations

import math

import numpy as np
import pytest

from exemplar_encoder import class_embedding


def test_several_exemplars_are_their_mean_of_unit_length_class_by_class() -> None:
    exemplars = np.random.default_rng(0).normal(size=(7, 3, 5)).astype(np.float32)
    found = class_embedding(exemplars)
    assert found.dtype == np.float32
    for own, shown in zip(found.tolist(), exemplars.tolist(), strict=True):
        mean = [sum(column) / 3 for column in zip(*shown, strict=True)]
        assert own == pytest.approx([value / math.hypot(*mean) for value in mean], abs=1e-6)
    assert np.array_equal(class_embedding(exemplars[2]), found[2])


def test_a_lone_exemplar_keeps_its_length() -> None:
    lone = np.array([[3.0, 4.0]], np.float32)
    assert class_embedding(lone).tolist() == [3.0, 4.0]


def test_exemplars_that_cancel_out_have_no_direction_and_stay_finite() -> None:
    opposite = np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32)
    assert class_embedding(opposite).tolist() == [0.0, 0.0]
