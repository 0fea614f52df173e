"""Backbones as published ones are: with features of ordinary size, though nobody trained them."""

from __future__ import annotations

import keras
import numpy as np

from exemplar_trainer.networks.backbone import application


def settled_backbone(name: str) -> keras.Model:
    """Return a backbone without its classifier, random weights, and normalization that has seen a batch of noise."""
    keras.utils.set_random_seed(5)
    backbone = application(name)(include_top=False, weights=None, input_shape=(64, 64, 3))
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0  # the statistics of the next batch replace those it was made with
    backbone(np.random.default_rng(0).uniform(0, 255, (16, 64, 64, 3)).astype(np.float32), training=True)
    return backbone


def small_backbone() -> keras.Model:
    """Return a network of one convolution, as a user may have one of any kind."""
    images = keras.Input((64, 64, 3))
    scaled = keras.layers.Rescaling(1 / 255)(images)
    return keras.Model(images, keras.layers.Conv2D(16, 5, strides=4, activation="relu", name="filters")(scaled))
