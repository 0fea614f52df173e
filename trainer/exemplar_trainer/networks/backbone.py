"""Networks that others trained on photographs, with an embedding layer of our own on top.

Those of `keras.applications` that scale pixels themselves, so that images from 0 to 255 go in as everywhere here.
Their published weights are downloaded by Keras when "imagenet" is asked for, and checked against the hash it knows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
from keras import applications, layers

BACKBONES: dict[str, Callable[..., keras.Model]] = {
    "mobilenetv3-small": applications.MobileNetV3Small,
    "mobilenetv3-large": applications.MobileNetV3Large,
    "efficientnetv2-b0": applications.EfficientNetV2B0,
    "efficientnetv2-b1": applications.EfficientNetV2B1,
    "efficientnetv2-b2": applications.EfficientNetV2B2,
    "efficientnetv2-b3": applications.EfficientNetV2B3,
}

EMBEDDING = "embedding"
PUBLISHED = "imagenet"


class WeightsError(Exception):
    """Pretrained weights that cannot be had or do not fit; the message says which and what to do."""


def refuse_missing_weights(weights: str) -> None:
    """Raise WeightsError when a weights file is not there; `weights` as in a recipe."""
    if weights not in ("", PUBLISHED) and not Path(weights).is_file():
        raise WeightsError(f"there is no weights file {weights}; give a path, or imagenet for the published weights")


def backbone_network(name: str, input_shape: tuple[int, int, int], dimension: int | None) -> keras.Model:
    """Build a network with freshly drawn weights.

    Args:
        name: one of `BACKBONES`.
        input_shape: `(height, width, 3)`; pixels from 0 to 255.
        dimension: length of an embedding; None for the backbone's own features, averaged over the image.

    Returns:
        A model from float32 `[n, *input_shape]` to L2-normalized float32 `[n, dimension]`.

    Raises:
        ValueError: the input has another number of channels, or is too small.
    """
    if input_shape[2] != 3:
        raise ValueError(f"{name} takes color images; add --color")
    if min(input_shape[:2]) < 32:
        raise ValueError(f"{name} takes images of 32 pixels or more a side, not {input_shape[1]}x{input_shape[0]}")
    images = keras.Input(input_shape, name="images")
    x = layers.GlobalAveragePooling2D()(_features(name, images).output)
    if dimension is not None:
        x = layers.Dense(dimension, name=EMBEDDING)(x)
    x = layers.UnitNormalization(dtype="float32", name="unit_length")(x)
    return keras.Model(images, x, name=name.replace("-", "_"))


def load_pretrained(network: keras.Model, name: str, weights: str) -> None:
    """Give a network's backbone the weights of a file, or those published for it.

    Args:
        network: what `backbone_network` built, or a clone of it.
        name: its backbone.
        weights: "imagenet", or the path of a `.weights.h5` file of the backbone without its classifier.

    Raises:
        WeightsError: there is no such file, it is of another network, or the download failed.
    """
    refuse_missing_weights(weights)
    published = weights == PUBLISHED
    shape = tuple(network.input_shape[1:])
    try:
        source = _features(name, keras.Input(shape), weights)
    except Exception as error:  # whatever Keras's reader or downloader meets; a failed download is a bare Exception
        what = f"the published weights of {name}" if published else f"{weights}, as weights of {name},"
        raise WeightsError(f"{what} cannot be loaded: {error}") from error
    for layer in source.layers:
        if layer.weights:
            network.get_layer(layer.name).set_weights(layer.get_weights())


def freeze(network: keras.Model) -> None:
    """Leave only the embedding layer to be trained."""
    for layer in network.layers:
        layer.trainable = layer.name == EMBEDDING


def _features(name: str, images: Any, weights: str | None = None) -> keras.Model:
    return BACKBONES[name](include_top=False, weights=weights, input_tensor=images, include_preprocessing=True)
