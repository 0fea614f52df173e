"""Backbones: published networks, with weights from a file, whole or frozen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from exemplar_encoder import Preprocessing
from exemplar_encoder.arrays import Floats
from exemplar_trainer.networks import BACKBONES
from exemplar_trainer.networks.backbone import (
    EMBEDDING,
    WeightsError,
    application,
    backbone_network,
    load_pretrained,
    read_backbone,
)
from exemplar_trainer.recipes.recipe import Recipe
from exemplar_trainer.recipes.shipped import RECIPES
from exemplar_trainer.training.learner import build_learner
from tests.trainer.backbones import settled_backbone, small_backbone

pytestmark = pytest.mark.slow

SMALL = "mobilenetv3-small"
SHAPE = (32, 48, 3)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a weights file as a user has it: of the backbone without its classifier."""
    path = tmp_path_factory.mktemp("weights") / "small.weights.h5"
    settled_backbone(SMALL).save_weights(path)
    return path


def pictures(count: int = 4) -> Floats:
    return np.random.default_rng(0).uniform(0, 255, (count, *SHAPE)).astype(np.float32)


def recipe(weights: Path, frozen: bool) -> Recipe:
    return replace(
        RECIPES["photo"],
        network=SMALL,
        weights=str(weights),
        frozen=frozen,
        preprocessing=Preprocessing(48, 32, 3),
        dimension=8,
        steps=10,
    )


def trained_a_step(recipe: Recipe) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Return the weights of the base network before and after, by their paths."""
    learner = build_learner(recipe, 4)
    network = learner.base_network

    def weights() -> dict[str, Floats]:
        return {variable.path: keras.ops.convert_to_numpy(variable.value).copy() for variable in network.variables}

    before = weights()
    inputs = {
        "images": pictures(),
        "transforms": np.tile(np.array([1, 0, 0, 0, 1, 0], np.float32), (4, 1)),
        "displacements": np.zeros((4, 5, 5, 2), np.float32),
        "colors": np.tile(np.eye(3, 4, dtype=np.float32), (4, 1, 1)),
    }
    learner.run_eagerly = True  # to trace this network takes longer than two steps
    learner.train_on_batch(inputs, np.array([0, 0, 1, 1]))
    learner.train_on_batch(inputs, np.array([0, 0, 1, 1]))
    return before, weights()


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_gives_unit_vectors_of_the_dimension_asked_for(name: str) -> None:
    network = backbone_network(name, SHAPE, 16)
    embeddings = np.asarray(network(pictures(2)))
    assert embeddings.shape == (2, 16)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, rtol=1e-5)


def test_a_weights_file_gives_the_backbone_the_features_it_was_saved_with(published: Path) -> None:
    network = backbone_network(SMALL, SHAPE, dimension=None)
    load_pretrained(network, SMALL, str(published))
    source = application(SMALL)(include_top=False, weights=str(published), input_shape=SHAPE, pooling="avg")
    features = np.asarray(source(pictures()))
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose(np.asarray(network(pictures())), unit, atol=1e-5)


def test_a_learner_begins_with_the_weights_of_its_file(published: Path) -> None:
    learner = build_learner(recipe(published, frozen=False), 4)
    source = application(SMALL)(include_top=False, weights=str(published), input_shape=SHAPE)
    for layer in source.layers:
        for mine, its in zip(
            learner.base_network.get_layer(layer.name).get_weights() if layer.weights else [],
            layer.get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(mine, its)


def test_a_frozen_backbone_stays_to_the_bit_and_the_embedding_learns(published: Path) -> None:
    before, after = trained_a_step(recipe(published, frozen=True))
    changed = {path for path in before if not np.array_equal(before[path], after[path])}
    assert changed
    assert all(EMBEDDING in path for path in changed)


def test_fine_tuning_changes_the_backbone_too(published: Path) -> None:
    before, after = trained_a_step(recipe(published, frozen=False))
    changed = {path for path in before if not np.array_equal(before[path], after[path])}
    assert sum(EMBEDDING not in path for path in changed) > 50


def test_a_missing_weights_file_is_named() -> None:
    with pytest.raises(WeightsError, match=r"there is no weights file nowhere\.h5; give a path, or imagenet"):
        load_pretrained(backbone_network(SMALL, SHAPE, 8), SMALL, "nowhere.h5")


def test_weights_of_another_network_are_refused(published: Path) -> None:
    with pytest.raises(WeightsError, match=r"small\.weights\.h5, as weights of efficientnetv2-b0, cannot be loaded"):
        load_pretrained(backbone_network("efficientnetv2-b0", SHAPE, 8), "efficientnetv2-b0", str(published))


def test_a_backbone_takes_no_gray_and_no_thumbnails() -> None:
    with pytest.raises(ValueError, match="takes color images; add --color"):
        backbone_network(SMALL, (64, 64, 1), 8)
    with pytest.raises(ValueError, match="32 pixels or more a side, not 48x16"):
        backbone_network(SMALL, (16, 48, 3), 8)


@pytest.mark.parametrize("pooled", [False, True])
def test_a_backbone_out_of_a_file_has_the_features_it_was_saved_with(tmp_path: Path, pooled: bool) -> None:
    source = small_backbone()
    average = keras.Model(source.input, keras.layers.GlobalAveragePooling2D()(source.output))
    path = str(tmp_path / "own.keras")
    (average if pooled else source).save(path)
    network = backbone_network(path, (64, 64, 3), dimension=None)
    load_pretrained(network, path, path)
    images = np.random.default_rng(0).uniform(0, 255, (4, 64, 64, 3)).astype(np.float32)
    features = np.asarray(average(images))
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose(np.asarray(network(images)), unit, atol=1e-5)
    assert backbone_network(path, SHAPE, 8)(pictures()).shape == (4, 8)  # convolutions take any size


def test_a_backbone_out_of_a_file_is_drawn_afresh_until_its_weights_are_loaded(tmp_path: Path) -> None:
    path = str(tmp_path / "own.keras")
    small_backbone().save(path)
    network, source = backbone_network(path, SHAPE, 8), read_backbone(path)
    drawn, saved = network.get_layer("filters").get_weights()[0], source.get_layer("filters").get_weights()[0]
    assert not np.array_equal(drawn, saved)
    load_pretrained(network, path, path)
    np.testing.assert_array_equal(network.get_layer("filters").get_weights()[0], saved)


def test_a_file_that_holds_no_backbone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.keras"
    with pytest.raises(WeightsError, match=r"there is no file .*own\.keras with a backbone"):
        read_backbone(str(path))
    path.write_bytes(b"damage")
    with pytest.raises(WeightsError, match=r"own\.keras cannot be loaded"):
        read_backbone(str(path))
    images = keras.Input((32, 32, 3))
    vector = keras.layers.Flatten()(images)
    for outputs, told in (
        ([vector, vector], "has 1 inputs and 2 outputs"),
        (keras.layers.Reshape((32, 96))(vector), r"gives \(None, 32, 96\); it needs features"),
        (keras.layers.Dense(4, activation="softmax")(vector), "ends in a classifier"),
    ):
        keras.Model(images, outputs).save(path)
        with pytest.raises(WeightsError, match=told):
            read_backbone(str(path))
    gray = keras.Input((32, 32, 1))
    keras.Model(gray, keras.layers.Flatten()(gray)).save(path)
    with pytest.raises(WeightsError, match=r"takes \(None, 32, 32, 1\); it needs color images"):
        read_backbone(str(path))


def test_a_backbone_of_one_size_is_not_given_another(tmp_path: Path) -> None:
    path = tmp_path / "own.keras"
    images = keras.Input((32, 32, 3))
    keras.Model(images, keras.layers.Dense(4)(keras.layers.Flatten()(images))).save(path)
    backbone_network(str(path), (32, 32, 3), 8)
    with pytest.raises(WeightsError, match=r"own\.keras is of another input than 40x40 pixels"):
        load_pretrained(backbone_network(str(path), (40, 40, 3), 8), str(path), str(path))
