"""A fitted calibration keeps its word on classes that it was not fitted on."""

from __future__ import annotations

import math
import tracemalloc
from functools import cache

import numpy as np
import pytest

from exemplar_encoder import Calibration
from exemplar_encoder.arrays import Floats
from exemplar_encoder.calibration import gaps_of
from exemplar_trainer.calibration import from_held_out
from exemplar_trainer.calibration.from_held_out import fit_calibration, pair_distances
from exemplar_trainer.data.image_set import ImageSet
from tests.trainer.calibration.six_groups import EMBEDDINGS, SET
from tests.trainer.synthetic_sets import gaussian_embeddings, synthetic_set

pytestmark = pytest.mark.slow


def test_pairs_are_those_of_one_class_and_those_of_two_in_one_group() -> None:
    images = synthetic_set({"A": 2, "B": 2}, images_per_class=3)
    embeddings = gaussian_embeddings(images, spread=1.0)
    genuine, impostor = [], []
    for i in range(12):
        for j in range(i + 1, 12):
            d = math.dist(embeddings[i].tolist(), embeddings[j].tolist())
            if images.labels[i] == images.labels[j]:
                genuine.append(d)
            elif images.groups[images.labels[i]] == images.groups[images.labels[j]]:
                impostor.append(d)
    found = pair_distances(embeddings, images)
    assert sorted(found[0]) == pytest.approx(sorted(genuine), abs=1e-3)
    assert sorted(found[1]) == pytest.approx(sorted(impostor), abs=1e-3)


def test_pairs_of_any_two_classes_count_where_no_group_has_two() -> None:
    images = synthetic_set({"A": 1, "B": 1, "C": 1}, images_per_class=2)
    genuine, impostor = pair_distances(gaussian_embeddings(images, spread=1.0), images)
    assert (len(genuine), len(impostor)) == (3, 12)


@pytest.mark.parametrize(("classes", "each"), [(300, 40), (30_000, 2)])
def test_a_very_large_set_is_sampled_and_both_kinds_of_pairs_remain(classes: int, each: int) -> None:
    images = synthetic_set({"": classes}, images_per_class=each)
    embeddings = gaussian_embeddings(images, spread=0.5, dimension=8)
    tracemalloc.start()
    try:
        genuine, impostor = pair_distances(embeddings, images)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(genuine) >= 1500
    assert len(genuine) + len(impostor) <= 4000 * 3999 // 2
    assert peak < 800 * 1024 * 1024


def test_of_a_very_large_set_some_classes_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_held_out, "_MAX_CLASSES", 100)
    images = synthetic_set({f"G{index}": 40 for index in range(30)}, images_per_class=2)
    fitted = fit_calibration(gaussian_embeddings(images, spread=0.5, dimension=8), images)
    assert fitted.fitted_on == "1,200 classes that training never saw"
    assert fitted.gallery_sizes == (1, 2, 5, 10, 20, 50, 90)  # a tenth is left to be strangers


def strangers_met(
    embeddings: Floats, images: ImageSet, way: int, draws: int, seed: int
) -> list[tuple[Floats | None, float]]:
    """Return a gallery's gaps and the distance of a stranger of its group to its nearest class, again and again."""
    rng = np.random.default_rng(seed)
    groups = [classes for classes in images.classes_by_group.values() if len(classes) > way]
    found = []
    for _ in range(draws):
        chosen = rng.permutation(groups[rng.integers(len(groups))])[: way + 1]
        stranger, *enrolled = (rng.choice(images.members[label]) for label in chosen)
        nearest = min(math.dist(embeddings[stranger], embeddings[exemplar]) for exemplar in enrolled)
        found.append((gaps_of(embeddings[enrolled]), nearest))
    return found


@cache
def met_unseen(likeness: float, way: int) -> list[tuple[Floats | None, float]]:
    return strangers_met(gaussian_embeddings(SET, 0.9, 32, seed=1, likeness=likeness), SET, way, 3000, seed=2)


@cache
def fitted_on_others(likeness: float) -> Calibration:
    return fit_calibration(gaussian_embeddings(SET, 0.9, 32, seed=0, likeness=likeness), SET)


def share_accepted(calibration: Calibration, likeness: float, way: int, rate: float, measured: bool = True) -> float:
    accepted = [
        nearest <= calibration.threshold(rate, way, calibration.spacing(way, gaps if measured else None))
        for gaps, nearest in met_unseen(likeness, way)
    ]
    return float(np.mean(accepted))


@pytest.mark.parametrize("likeness", [0.0, 0.6])
@pytest.mark.parametrize("way", [1, 5, 20])
@pytest.mark.parametrize("rate", [0.05, 0.1, 0.3])
def test_strangers_of_the_same_kind_are_given_a_name_as_often_as_was_asked(
    likeness: float, way: int, rate: float
) -> None:
    assert share_accepted(fitted_on_others(likeness), likeness, way, rate) == pytest.approx(rate, rel=0.5)


@pytest.mark.parametrize("rate", [0.05, 0.1])
@pytest.mark.parametrize(("fitted", "likeness"), [(0.0, 0.6), (0.6, 0.0)])
def test_a_gallery_unlike_those_of_the_fit_shows_it_by_its_spacing(
    fitted: float, likeness: float, rate: float
) -> None:
    calibration = fitted_on_others(fitted)
    with_spacing, without = (share_accepted(calibration, likeness, 20, rate, each) for each in (True, False))
    assert abs(math.log((with_spacing + 1e-3) / rate)) < abs(math.log((without + 1e-3) / rate)) / 1.5


def test_the_same_set_and_seed_give_the_same_calibration(calibration: Calibration) -> None:
    assert fit_calibration(EMBEDDINGS, SET) == calibration


@pytest.mark.parametrize("groups", [{"": 4}, {"": 5}, {"A": 2, "B": 2}, {"A": 1, "B": 1, "C": 1, "D": 1}, {"A": 4}])
@pytest.mark.parametrize("each", [2, 5])
@pytest.mark.parametrize("spread", [0.001, 1.0, 1000.0])
def test_the_smallest_sets_are_calibrated(groups: dict[str, int], each: int, spread: float) -> None:
    images = synthetic_set(groups, images_per_class=each)
    fitted = fit_calibration(gaussian_embeddings(images, spread=spread), images)
    assert 0 <= fitted.threshold(0.05, 3, fitted.spacing(3, None)) <= 2.5


def test_embeddings_that_all_coincide_are_still_calibrated() -> None:
    images = synthetic_set({"A": 6, "B": 6})
    same = np.tile(np.eye(4, dtype=np.float32)[0], (len(images.labels), 1))
    assert np.isfinite(fit_calibration(same, images).probabilities([0.0], 0.0)).all()
