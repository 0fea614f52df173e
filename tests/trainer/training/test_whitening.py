"""Within-class whitening, derived a second time with loops; what it does to a network, and where it does no harm."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from exemplar_encoder.arrays import Floats, Floats64, Ints
from exemplar_trainer.networks.residual import residual_network
from exemplar_trainer.training.whitening import whiten
from exemplar_trainer.training.within_class import whitening
from tests.trainer.synthetic_sets import synthetic_set

SIDE = 16


def uneven(classes: int, each: int) -> tuple[Floats, Ints]:
    """Return vectors that differ within their classes ten times as much along one axis as along another."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(classes, 3))
    vectors = np.repeat(centers, each, axis=0) + rng.normal(size=(classes * each, 3)) * [1.0, 0.3, 0.1]
    return vectors.astype(np.float32), np.repeat(np.arange(classes), each)


def spread_within(vectors: Floats, labels: Ints) -> Floats64:
    total = np.zeros((vectors.shape[1],) * 2)
    for vector, label in zip(vectors.astype(np.float64), labels, strict=True):
        apart = vector - vectors[labels == label].astype(np.float64).mean(axis=0)
        total += np.outer(apart, apart)
    return total / len(vectors)


def test_it_is_the_inverse_root_of_the_spread_within_classes_and_its_mean() -> None:
    vectors, labels = uneven(30, 5)
    spread = spread_within(vectors, labels)
    root = whitening(vectors, labels)
    np.testing.assert_allclose(root, root.T, atol=1e-9)
    widened = spread + np.trace(spread) / 3 * np.eye(3)
    np.testing.assert_allclose(root @ widened @ root, np.eye(3), atol=1e-6)


def test_directions_become_more_alike_but_order_is_kept() -> None:
    vectors, labels = uneven(30, 5)
    before = np.diag(spread_within(vectors, labels))
    after = np.diag(spread_within((vectors @ whitening(vectors, labels)).astype(np.float32), labels))
    assert after.max() / after.min() < 0.3 * before.max() / before.min()
    assert (np.argsort(after) == np.argsort(before)).all()


@pytest.mark.parametrize("each", [1, 2])
def test_classes_that_show_little_or_no_spread_blow_nothing_up(each: int) -> None:
    vectors, labels = uneven(1, each)
    root = whitening(vectors, labels)
    assert np.isfinite(root).all()
    assert np.linalg.cond(root) <= np.sqrt(1 + 3) + 1e-9


def test_the_network_takes_it_in_and_stays_as_large() -> None:
    images = synthetic_set({"A": 8})
    pixels = np.random.default_rng(0).integers(0, 256, (len(images.labels), SIDE, SIDE, 1), dtype=np.uint8)
    images = replace(images, pixels=pixels)
    keras.utils.set_random_seed(1)
    network = residual_network((SIDE, SIDE, 1), 6)
    inputs = pixels.astype(np.float32)
    plain = keras.Model(network.input, network.get_layer("embedding").output)
    before = np.asarray(plain(inputs))
    size = np.linalg.norm(network.get_layer("embedding").get_weights()[0])
    expected = before @ whitening(before, images.labels)
    whiten(network, images)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(np.asarray(network(inputs)), expected, atol=1e-4)
    assert np.linalg.norm(network.get_layer("embedding").get_weights()[0]) == pytest.approx(size, rel=1e-4)
