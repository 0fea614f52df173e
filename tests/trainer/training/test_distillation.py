"""The loss by which a network learns from others, derived again with loops; and which others it refuses."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from exemplar_encoder import Bundle, Preprocessing
from exemplar_encoder.arrays import Floats
from exemplar_encoder.bundle import seal
from exemplar_trainer.networks.residual import residual_network
from exemplar_trainer.recipes.shipped import RECIPES
from exemplar_trainer.training.distillation import Distillation, TeacherError, Teachers, load_teachers
from exemplar_trainer.training.learner import build_learner

SIDE = 16
TINY = replace(
    RECIPES["default"],
    preprocessing=Preprocessing(SIDE, SIDE, 1),
    dimension=8,
    steps=6,
    warm_up_steps=0,
    optimizer="adamw",
)


def units(count: int, dimension: int, seed: int) -> Floats:
    vectors = np.random.default_rng(seed).normal(size=(count, dimension))
    unit: Floats = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def images(count: int) -> Floats:
    return np.random.default_rng(0).uniform(0, 255, (count, SIDE, SIDE, 1)).astype(np.float32)


def network(seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return residual_network((SIDE, SIDE, 1), 6)


def batch(count: int) -> dict[str, Floats]:
    return {
        "images": images(count),
        "transforms": np.tile(np.array([1, 0, 0, 0, 1, 0], np.float32), (count, 1)),
        "displacements": np.zeros((count, 5, 5, 2), np.float32),
        "colors": np.tile(np.array([[1, 0]], np.float32), (count, 1, 1)),
    }


def test_the_loss_is_the_angle_between_where_the_map_leads_and_where_the_teachers_are() -> None:
    student, teachers = units(6, 5, seed=1), units(6, 9, seed=2)
    layer = Distillation(9, weight=4.0)
    layer.build((None, 5))
    weights = np.random.default_rng(4).normal(size=(5, 9)).astype(np.float32)
    layer.map.assign(weights)
    expected = 0.0
    for row in range(6):
        mapped = [sum(student[row, i] * weights[i, j] for i in range(5)) for j in range(9)]
        length = math.sqrt(sum(value**2 for value in mapped))
        expected += 4.0 * (1.0 - sum(m * t for m, t in zip(mapped, teachers[row], strict=True)) / length) / 6
    assert float(layer(student, teachers)) == pytest.approx(expected, rel=1e-4)


def test_a_student_whose_space_is_a_turn_of_its_teachers_has_nothing_to_learn() -> None:
    teachers = units(6, 5, seed=1)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(5, 5)))[0].astype(np.float32)
    layer = Distillation(5)
    layer.build((None, 5))
    layer.map.assign(turn.T)
    assert float(layer(teachers @ turn, teachers)) == pytest.approx(0.0, abs=1e-5)


def test_the_cosine_of_what_several_teach_is_the_mean_of_their_cosines() -> None:
    networks = [network(seed) for seed in (1, 2)]
    alone = [np.asarray(each(images(4))) for each in networks]
    together = np.asarray(Teachers(networks, "float32").embed(images(4)))
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    expected = np.mean([each @ each.T for each in alone], axis=0)
    np.testing.assert_allclose(together @ together.T, expected, atol=1e-5)


def test_teachers_in_half_precision_give_unit_vectors_close_to_their_own() -> None:
    whole, half = (
        np.asarray(Teachers([network(1)], each).embed(images(4))) for each in ("float32", "mixed_bfloat16")
    )
    assert 0 < np.abs(whole - half).max() < 0.02
    np.testing.assert_allclose(np.linalg.norm(half, axis=1), 1.0, atol=1e-5)


def test_a_taught_network_comes_to_point_where_its_teacher_does_and_keeps_none_of_its_weights() -> None:
    teacher = network(1)
    learner = build_learner(TINY, 4 * TINY.orientations, Teachers([teacher], "float32"))
    distillation = learner.distillation
    assert distillation is not None

    def apart() -> float:
        return float(distillation(learner.base_network(images(8), training=True), teacher(images(8))))

    learner.run_eagerly = True  # to trace it takes longer than a few steps
    before = apart()
    for _ in range(TINY.steps):
        learner.train_on_batch(batch(8), np.arange(8) // 2)
    assert apart() < before
    own = (learner.base_network, learner.metric_loss, distillation)
    assert len(learner.variables) == sum([len(each.variables) for each in own])


def test_a_teacher_of_another_size_sees_the_picture_at_its_own(tiny_bundle: Path) -> None:
    spec = Bundle.load(tiny_bundle).manifest.preprocessing
    assert load_teachers([str(tiny_bundle)], replace(spec, width=2 * spec.width, height=2 * spec.height), ())
    smaller = network(1)
    large = np.random.default_rng(0).uniform(0, 255, (3, 2 * SIDE, 2 * SIDE, 1)).astype(np.float32)
    small = [Image.fromarray(each[..., 0]).resize((SIDE, SIDE), Image.Resampling.BILINEAR) for each in large]
    expected = np.asarray(smaller(np.stack([np.asarray(each) for each in small])[..., None]))
    np.testing.assert_allclose(np.asarray(Teachers([smaller], "float32").embed(large)), expected, atol=1e-4)


def test_a_teacher_for_onnx_runtime_alone_is_refused(onnx_bundle: Path) -> None:
    with pytest.raises(TeacherError, match=r"holds no Keras network \(base_network\.keras\)"):
        load_teachers([str(onnx_bundle)], Bundle.load(onnx_bundle).manifest.preprocessing, [])


@pytest.mark.parametrize("change", [{"width": 40}, {"channels": 3, "levels": "kept"}, {"resample": "box"}])
def test_a_teacher_of_another_input_is_refused(tiny_bundle: Path, change: dict[str, Any]) -> None:
    spec = Bundle.load(tiny_bundle).manifest.preprocessing
    with pytest.raises(TeacherError, match="takes another input"):
        load_teachers([str(tiny_bundle)], replace(spec, **change), ())


def test_a_teacher_that_saw_what_is_to_be_measured_on_is_refused(tiny_bundle: Path) -> None:
    manifest = Bundle.load(tiny_bundle).manifest
    spec, unseen = manifest.preprocessing, manifest.training["held_out"]
    assert load_teachers([str(tiny_bundle)], spec, unseen)
    with pytest.raises(TeacherError, match="was not trained with Klingon held out"):
        load_teachers([str(tiny_bundle)], spec, [*unseen, "Klingon"])
    assert load_teachers([str(tiny_bundle)], spec, ()), "a run that measures nothing may learn from any"


def test_a_teacher_from_elsewhere_that_names_nothing_it_saw_is_taken(tiny_bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "teacher"
    shutil.copytree(tiny_bundle, copy)
    manifest = replace(Bundle.load(copy).manifest, training={})
    seal(copy, manifest)
    assert load_teachers([str(copy)], manifest.preprocessing, ("Klingon",))
