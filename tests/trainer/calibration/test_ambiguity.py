"""The margin keeps wrong names among accepted queries rare, and is no wider than it has to be."""

from __future__ import annotations

import numpy as np
import pytest

from exemplar_encoder import Calibration
from exemplar_encoder.arrays import Bools, Floats
from exemplar_encoder.calibration import gaps_of
from exemplar_trainer.calibration.from_held_out import fit_calibration
from tests.trainer.calibration.six_groups import EMBEDDINGS, SET
from tests.trainer.synthetic_sets import gaussian_embeddings, synthetic_set

pytestmark = pytest.mark.slow


def wrong_names(calibration: Calibration, way: int, background: Floats) -> tuple[Bools, Bools]:
    """Return for each query that is accepted, and for each that is also not ambiguous, whether its name is wrong.

    Of many galleries. One that is to hold more classes than the set has is filled up with the background.
    """
    rng = np.random.default_rng(5)
    accepted, clear = [], []
    for _ in range(40):
        enrolled = rng.permutation(150)[: min(way, 135)]
        pairs = np.array([rng.choice(SET.members[label], 2, replace=False) for label in enrolled])
        filling = background[rng.permutation(len(background))[: way - len(enrolled)]]
        classes = np.concatenate([EMBEDDINGS[pairs[:, 0]], filling])
        distances = np.linalg.norm(EMBEDDINGS[pairs[:, 1]][:, None] - classes[None], axis=2)
        best, second = np.sort(distances, axis=1)[:, :2].T
        spacing = calibration.spacing(way, gaps_of(classes))
        named = best <= calibration.threshold(0.05, way, spacing)
        wrong = distances.argmin(axis=1) != np.arange(len(enrolled))
        accepted.append(wrong[named])
        clear.append(wrong[named & (second - best >= calibration.margin(spacing))])
    return np.concatenate(accepted), np.concatenate(clear)


@pytest.fixture(scope="module")
def background() -> Floats:
    """Return an embedding of each of 450 other classes."""
    others = synthetic_set({f"T{index}": 25 for index in range(18)}, images_per_class=1)
    return gaussian_embeddings(others, spread=0.9, dimension=32, seed=7)


@pytest.fixture(scope="module")
def filled_up(background: Floats) -> Calibration:
    return fit_calibration(EMBEDDINGS, SET, background=background)


@pytest.mark.parametrize("way", [50, 135, 500])
def test_the_margin_keeps_wrong_names_among_accepted_queries_rare(
    way: int, background: Floats, filled_up: Calibration
) -> None:
    before, after = wrong_names(filled_up, way, background)
    assert after.mean() < filled_up.ambiguity_error_rate + 0.015
    assert after.mean() < before.mean()
    if way > 50:
        assert before.mean() > 2 * filled_up.ambiguity_error_rate
        assert after.mean() > 0.005, "no more is called ambiguous than has to be"


def test_few_classes_far_from_each_other_need_no_margin(calibration: Calibration) -> None:
    typical = dict(zip(calibration.gallery_sizes, calibration.typical_spacings, strict=True))
    assert calibration.margin(typical[5]) == pytest.approx(0.05 * typical[5])  # ties aside
    assert calibration.margin(typical[100]) > 1.5 * 0.05 * typical[100]


def test_a_network_that_hardly_errs_needs_no_margin() -> None:
    sure = gaussian_embeddings(SET, spread=0.5, dimension=32)
    assert fit_calibration(sure, SET).margin(0.5) == pytest.approx(0.05 * 0.5)
