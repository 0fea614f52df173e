"""A calibration that is judged by classes that it was not fitted on keeps its word to them."""

from __future__ import annotations

import numpy as np
import pytest

from exemplar_trainer.calibration.check import CalibrationCheck, check_calibration
from exemplar_trainer.evaluation.spaces import Space
from tests.trainer.calibration.six_groups import EMBEDDINGS, SET
from tests.trainer.synthetic_sets import gaussian_embeddings, synthetic_set

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def check() -> CalibrationCheck:
    return check_calibration([Space(EMBEDDINGS, SET)])


@pytest.mark.slow
def test_the_cross_fitted_check_finds_the_rates_that_were_asked_for(check: CalibrationCheck) -> None:
    assert check.way == 12  # half of a group of 25
    assert check.open_set.realized == pytest.approx(check.open_set.asked, abs=0.025)
    assert check.open_set.accepted == tuple(sorted(check.open_set.accepted))
    assert check.open_set.accepted[-1] > 0.5


def test_stated_probabilities_come_true(check: CalibrationCheck) -> None:
    assert check.open_set.calibration_error < 0.1
    assert sum(share for _, _, share in check.open_set.bins) == pytest.approx(1)
    assert check.open_set.calibration_error == pytest.approx(sum(abs(p - q) * w for p, q, w in check.open_set.bins))


@pytest.mark.parametrize("groups", [{"": 4}, {"": 5}, {"A": 2, "B": 2}, {"A": 1, "B": 1, "C": 1, "D": 1}, {"A": 4}])
@pytest.mark.parametrize("each", [2, 5])
@pytest.mark.parametrize("spread", [0.001, 1.0, 1000.0])
def test_the_smallest_sets_are_judged(groups: dict[str, int], each: int, spread: float) -> None:
    images = synthetic_set(groups, images_per_class=each)
    check = check_calibration([Space(gaussian_embeddings(images, spread=spread), images)])
    assert check.way >= 1
    assert all(0 <= rate <= 1 for rate in check.open_set.realized + check.open_set.accepted)


def test_embeddings_that_all_coincide_are_judged() -> None:
    images = synthetic_set({"A": 6, "B": 6})
    same = np.tile(np.eye(4, dtype=np.float32)[0], (len(images.labels), 1))
    assert check_calibration([Space(same, images)]).open_set.known > 0
