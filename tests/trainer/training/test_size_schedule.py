"""Small images first: which steps see them, and what is carried over to the whole size."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest

from exemplar_encoder import Preprocessing
from exemplar_trainer.augmentation.geometry import resized
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.recipes.recipe import RECIPES, Recipe
from exemplar_trainer.training import loop as fitting
from exemplar_trainer.training.checkpoint import FILE
from exemplar_trainer.training.learner import MetricLearner, build_learner, state
from exemplar_trainer.training.loop import fit
from exemplar_trainer.training.size_schedule import carry_over, early_steps, input_size, places, spread
from tests.trainer.synthetic_sets import synthetic_set

RECIPE = dataclasses.replace(RECIPES["default"], early_size=32, steps=6, classes_per_batch=4, warm_up_steps=2)
CLASSES = 9

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")


def learner(recipe: Recipe, step: int) -> MetricLearner:
    return build_learner(recipe, CLASSES, size=input_size(recipe, step))


@pytest.fixture(scope="module")
def small() -> MetricLearner:
    learned = learner(RECIPE, 0)
    rng = np.random.default_rng(0)
    for variable in state(learned):
        if keras.backend.is_float_dtype(variable.dtype):
            variable.assign(rng.uniform(0.1, 1.0, variable.shape))
    return learned


@pytest.fixture(scope="module")
def whole(small: MetricLearner) -> MetricLearner:
    learned = learner(RECIPE, 3)
    carry_over(small, learned)
    return learned


def test_the_first_half_of_the_steps_sees_smaller_images() -> None:
    assert early_steps(RECIPE) == 3
    assert [input_size(RECIPE, step) for step in (0, 2, 3, 5)] == [(32, 32), (32, 32), (64, 64), (64, 64)]


def test_without_a_schedule_and_in_a_single_step_images_have_the_whole_size() -> None:
    assert input_size(dataclasses.replace(RECIPE, early_size=0), 0) == (64, 64)
    assert input_size(dataclasses.replace(RECIPE, steps=1), 0) == (64, 64)


def test_a_wide_input_keeps_its_shape_when_small() -> None:
    wide = dataclasses.replace(RECIPE, preprocessing=Preprocessing(96, 64, 1), early_size=48)
    assert input_size(wide, 0) == (32, 48)
    very_wide = dataclasses.replace(RECIPE, preprocessing=Preprocessing(512, 8, 1), early_size=8)
    assert input_size(very_wide, 0) == (1, 8)


def test_what_does_not_depend_on_the_size_is_carried_over_as_it_is(
    small: MetricLearner, whole: MetricLearner
) -> None:
    same = 0
    for old, new in zip(state(small), state(whole), strict=True):
        if old.shape == new.shape:
            same += 1
            np.testing.assert_array_equal(old.value, new.value, err_msg=old.path)
    # All but the kernel that reads places, and the one moment that Muon keeps of it.
    assert same == len(state(small)) - 2


def test_a_map_that_is_the_same_everywhere_is_embedded_as_before(small: MetricLearner, whole: MetricLearner) -> None:
    assert (places(small.base_network), places(whole.base_network)) == ((2, 2), (4, 4))
    everywhere = np.random.default_rng(1).random(160).astype(np.float32)
    embedded = [
        np.tile(everywhere, count) @ learned.base_network.get_layer("embedding").get_weights()[0]
        for learned, count in ((small, 4), (whole, 16))
    ]
    np.testing.assert_allclose(*embedded, rtol=1e-4)


def test_the_moment_of_a_kernel_is_spread_and_no_less_for_it(small: MetricLearner, whole: MetricLearner) -> None:
    old, new = (
        next(np.asarray(slot.value) for slot in learned.optimizer.variables if slot.shape == (grid * 160, 128))
        for learned, grid in ((small, 4), (whole, 16))
    )
    np.testing.assert_allclose(old.mean(), new.mean(), rtol=0.01)


def test_an_average_of_the_weights_is_carried_over_as_the_weights_are() -> None:
    averaged = dataclasses.replace(RECIPE, weight_average=0.9, optimizer="adamw")
    before, after = learner(averaged, 0), learner(averaged, 3)
    for variable in state(before):
        if keras.backend.is_float_dtype(variable.dtype):
            variable.assign(np.ones(variable.shape))
    carry_over(before, after)
    kernels = [variable for variable in after.trainable_variables if variable.shape == (16 * 160, 128)]
    averages = [variable for variable in after.optimizer.variables if variable.shape == (16 * 160, 128)]
    assert len(averages) == 3  # two moments and the average
    np.testing.assert_allclose(kernels[0].value, 0.25, rtol=1e-5)
    assert sorted(float(np.asarray(average.value).mean()) for average in averages) == pytest.approx([0.25, 1.0, 1.0])


def test_a_kernel_is_spread_as_pillow_resizes_images() -> None:
    kernel = np.random.default_rng(2).random((3 * 2 * 5, 7)).astype(np.float32)
    over = spread(kernel, (3, 2), (4, 6))
    for channel in range(5):
        for unit in range(7):
            plane = kernel.reshape(3, 2, 5, 7)[:, :, channel, unit]
            expected = np.asarray(resized(plane[None, :, :, None], (4, 6)))[0, :, :, 0]
            np.testing.assert_allclose(over.reshape(4, 6, 5, 7)[:, :, channel, unit], expected, rtol=1e-5)


def test_a_network_that_averages_its_map_reads_no_places() -> None:
    averaging = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.GlobalAveragePooling2D()])
    assert places(averaging) == (1, 1)


QUICK = dataclasses.replace(
    RECIPE, preprocessing=Preprocessing(32, 32, 1), early_size=16, loss="nca", optimizer="adamw", dimension=8
)


@pytest.fixture(scope="module")
def images() -> ImageSet:
    drawn = synthetic_set({"A": 4, "B": 5}, images_per_class=3)
    pixels = np.random.default_rng(0).integers(0, 256, (len(drawn.labels), 32, 32, 1), dtype=np.uint8)
    return dataclasses.replace(drawn, pixels=pixels)


@pytest.fixture(scope="module")
def never_stopped(images: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> keras.Model:
    return fit(QUICK, images, tmp_path_factory.mktemp("whole"), lambda done, loss, rate: None)


@pytest.mark.parametrize("stopped_after", [2, 3, 4])
def test_a_run_stopped_before_at_or_after_the_change_of_size_resumes_to_the_same_weights(
    stopped_after: int, images: ImageSet, never_stopped: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_short(done: int, loss: float, rate: float) -> None:
        if done > stopped_after:
            raise InterruptedError

    monkeypatch.setattr(fitting, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(InterruptedError):
        fit(QUICK, images, tmp_path, cut_short)
    with np.load(tmp_path / FILE) as saved:
        assert saved["step"] == stopped_after
    resumed = fit(QUICK, images, tmp_path, lambda done, loss, rate: None)
    assert resumed.input_shape == (None, 32, 32, 1)
    assert all(np.array_equal(*pair) for pair in zip(never_stopped.get_weights(), resumed.get_weights(), strict=True))
