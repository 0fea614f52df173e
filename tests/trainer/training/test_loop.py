"""A run that stops goes on as if nothing had happened, whatever was left on disk."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest

from exemplar_encoder import Preprocessing
from exemplar_trainer.augmentation.geometry import Affine
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.losses import LOSSES
from exemplar_trainer.recipes.recipe import Recipe
from exemplar_trainer.recipes.shipped import RECIPES
from exemplar_trainer.training import batches, loop
from exemplar_trainer.training.checkpoint import CheckpointError
from exemplar_trainer.training.log import LOG
from exemplar_trainer.training.loop import DivergedError, OnStep, TrainingStoppedError, fit
from exemplar_trainer.training.run_folder import CHECKPOINT
from tests.trainer.synthetic_sets import synthetic_set

pytestmark = pytest.mark.slow

STEPS = 6


@pytest.fixture(scope="module")
def images() -> ImageSet:
    images = synthetic_set({"A": 4, "B": 5}, images_per_class=3)
    pixels = np.random.default_rng(0).integers(0, 256, (len(images.labels), 20, 20, 1), dtype=np.uint8)
    return dataclasses.replace(images, pixels=pixels)


@pytest.fixture(autouse=True, scope="module")
def every_step_is_recorded() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "LOG_STEPS", 1)
        yield


def recipe(loss: str = "nca", steps: int = STEPS) -> Recipe:
    return dataclasses.replace(
        RECIPES["seed"],
        preprocessing=Preprocessing(20, 20, 1),
        dimension=8,
        loss=loss,
        steps=steps,
        classes_per_batch=4,
        warm_up_steps=2,
        affine=Affine(rotation=10.0, shift=0.1),
    )


@pytest.fixture(scope="module")
def begun(images: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run of one step."""
    run = tmp_path_factory.mktemp("begun")
    fit(recipe(steps=1), images, run, go_on)
    return run


@pytest.fixture
def run(begun: Path, tmp_path: Path) -> Path:
    """Return a copy of it, to change and to go on with."""
    return shutil.copytree(begun, tmp_path / "run")


class CutShortError(Exception):
    """Ends a run in the middle."""


def stop_after(step: int) -> OnStep:
    def on_step(done: int, loss: float, rate: float) -> None:
        if done == step:
            raise CutShortError

    return on_step


def go_on(done: int, loss: float, rate: float) -> None:
    pass


def variables(run: Path) -> dict[str, npt.NDArray[Any]]:
    with np.load(run / CHECKPOINT) as saved:
        return {name: saved[name] for name in saved.files}


def records(run: Path) -> list[dict[str, float]]:
    lines = (run / LOG).read_text().splitlines()
    return [{key: json.loads(line)[key] for key in ("step", "loss", "learning_rate")} for line in lines]


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains(loss: str, images: ImageSet, tmp_path: Path) -> None:
    fit(recipe(loss, steps=2), images, tmp_path, go_on)
    assert [record["step"] for record in records(tmp_path)] == [1, 2]


# A loss without weights of its own, and one that has some.
@pytest.mark.parametrize(("loss", "optimizer"), [("lifted", "adamw"), ("nca-cosface", "muon")])
def test_a_run_resumes_to_the_very_same_weights(
    loss: str,
    optimizer: Literal["adamw", "muon"],
    images: ImageSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = dataclasses.replace(recipe(loss), optimizer=optimizer)
    whole, halved = tmp_path / "whole", tmp_path / "halved"
    whole.mkdir()
    halved.mkdir()
    once = fit(job, images, whole, go_on)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(CutShortError):
        fit(job, images, halved, stop_after(4))
    assert variables(halved)["step"] == 3
    twice = fit(job, images, halved, go_on)
    assert all(np.array_equal(*pair) for pair in zip(once.get_weights(), twice.get_weights(), strict=True))
    assert records(halved) == records(whole)
    expected, actual = variables(whole), variables(halved)
    assert expected.keys() == actual.keys()
    assert all(np.array_equal(expected[name], actual[name]) for name in expected)


def test_another_seed_gives_other_weights(images: ImageSet, begun: Path, tmp_path: Path) -> None:
    fit(dataclasses.replace(recipe(steps=1), seed=1), images, tmp_path, go_on)
    assert not np.array_equal(variables(tmp_path)["v0000"], variables(begun)["v0000"])


def test_records_that_a_crash_left_after_the_checkpoint_are_written_anew(images: ImageSet, run: Path) -> None:
    with (run / LOG).open("w") as log:
        log.write(json.dumps({"step": 1, "loss": 98.0, "learning_rate": 0.0}) + "\n")
        log.write(json.dumps({"step": 2, "loss": 99.0, "learning_rate": 0.0}) + "\n" + '{"step": 3, "lo')
    fit(recipe(steps=3), images, run, go_on)
    assert [record["step"] for record in records(run)] == [1, 2, 3]
    assert records(run)[0]["loss"] == 98.0
    assert records(run)[1]["loss"] != 99.0


def test_a_run_that_is_finished_is_not_trained_any_further(images: ImageSet, run: Path) -> None:
    before = variables(run)
    fit(recipe(steps=1), images, run, stop_after(2))
    after = variables(run)
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("length", [0, 3, 100, -100])
def test_a_checkpoint_cut_short_is_named(images: ImageSet, run: Path, length: int) -> None:
    content = (run / CHECKPOINT).read_bytes()
    (run / CHECKPOINT).write_bytes(content[:length])
    with pytest.raises(CheckpointError, match="cannot be read") as caught:
        fit(recipe(), images, run, go_on)
    assert str(run / CHECKPOINT) in str(caught.value)


def test_a_checkpoint_with_damaged_contents_is_named(images: ImageSet, run: Path) -> None:
    content = bytearray((run / CHECKPOINT).read_bytes())
    content[len(content) // 2] ^= 255
    (run / CHECKPOINT).write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read"):
        fit(recipe(), images, run, go_on)


def test_a_checkpoint_of_another_recipe_is_refused(images: ImageSet, run: Path) -> None:
    with pytest.raises(CheckpointError, match="another recipe"):
        fit(dataclasses.replace(recipe(), dimension=16), images, run, go_on)


def test_a_checkpoint_that_was_only_half_written_is_ignored(images: ImageSet, tmp_path: Path) -> None:
    (tmp_path / (CHECKPOINT + ".partial")).write_bytes(b"half")
    fit(recipe(steps=1), images, tmp_path, go_on)
    assert variables(tmp_path)["step"] == 1


def test_a_loss_that_is_no_number_ends_the_run_with_advice(images: ImageSet, tmp_path: Path) -> None:
    hot = dataclasses.replace(recipe("nca-cosface", steps=60), learning_rate=1e30, warm_up_steps=0)
    with pytest.raises(DivergedError, match="lower the learning rate"):
        fit(hot, images, tmp_path, go_on)


def test_the_learning_rate_rises_and_falls_to_nothing(images: ImageSet, tmp_path: Path) -> None:
    fit(dataclasses.replace(recipe(steps=20), warm_up_steps=4), images, tmp_path, go_on)
    rates = [record["learning_rate"] for record in records(tmp_path)]
    assert rates.index(max(rates)) == 3
    assert max(rates) == pytest.approx(1e-3)
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[-1] < 1e-5


def test_the_rate_counts_the_time_that_a_step_waits_for_its_batch(
    images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_batch = batches.make_batch

    def slowly(*arguments: Any) -> Any:
        time.sleep(0.2)
        return make_batch(*arguments)

    rates: list[float] = []
    monkeypatch.setattr(batches, "make_batch", slowly)
    fit(recipe(steps=3), images, tmp_path, lambda done, loss, rate: rates.append(rate))
    batch = recipe().classes_per_batch * recipe().images_per_class
    assert rates[-1] <= batch / 0.2  # batches are made one ahead


def test_a_request_to_stop_leaves_a_checkpoint_of_the_step_in_hand(images: ImageSet, tmp_path: Path) -> None:
    def interrupt(done: int, loss: float, rate: float) -> None:
        if done == 2:
            signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(TrainingStoppedError) as caught:
        fit(recipe(), images, tmp_path, interrupt)
    assert caught.value.step == variables(tmp_path)["step"] == 2
    assert signal.getsignal(signal.SIGTERM) is before
