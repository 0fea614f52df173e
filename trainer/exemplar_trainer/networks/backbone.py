"""Networks that others trained on photographs, with an embedding layer of our own on top.

Those of `keras.applications` by name, and any other out of a `.keras` file. The published weights of the first are
downloaded by Keras when "imagenet" is asked for, and checked against the hash it knows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
from keras import applications, layers

from exemplar_trainer.networks.pretrained import (
    BACKBONES,
    PUBLISHED,
    WeightsError,
    is_file,
    refuse_input,
    refuse_missing_weights,
)

EMBEDDING = "embedding"


def backbone_network(name: str, input_shape: tuple[int, int, int], dimension: int | None) -> keras.Model:
    """Build a network with freshly drawn weights.

    Args:
        name: one of `BACKBONES`, or the path of a `.keras` file; see `read_backbone`.
        input_shape: `(height, width, 3)`; pixels from 0 to 255.
        dimension: length of an embedding; None for the backbone's own features, averaged over the image.

    Returns:
        A model from float32 `[n, *input_shape]` to L2-normalized float32 `[n, dimension]`.

    Raises:
        ValueError: the input has another number of channels, or is too small.
        WeightsError: the file is not there, or holds no backbone.
    """
    refuse_input(name, input_shape)
    images = keras.Input(input_shape, name="images")
    (x,) = keras.tree.flatten(_features(name, images).output)  # of a clone, a list
    if len(x.shape) == 4:
        x = layers.GlobalAveragePooling2D()(x)
    if dimension is not None:
        x = layers.Dense(dimension, name=EMBEDDING)(x)
    x = layers.UnitNormalization(dtype="float32", name="unit_length")(x)
    return keras.Model(images, x, name=Path(name).stem.replace("-", "_"))


def load_pretrained(network: keras.Model, name: str, weights: str) -> None:
    """Give a network's backbone the weights of a file, or those published for it.

    Args:
        network: what `backbone_network` built, or a clone of it.
        name: its backbone.
        weights: "imagenet", or the path of a `.weights.h5` file of the backbone without its classifier; for a
            backbone out of a `.keras` file, that file.

    Raises:
        WeightsError: there is no such file, it is of another network, or the download failed.
    """
    refuse_missing_weights(weights)
    published = weights == PUBLISHED
    shape = tuple(network.input_shape[1:])
    try:
        source = read_backbone(weights) if is_file(name) else _features(name, keras.Input(shape), weights)
    except WeightsError:
        raise
    except Exception as error:  # whatever Keras's reader or downloader meets; a failed download is a bare Exception
        if published:
            hint = "where there is no way to the web, fetch that file elsewhere and give it with --weights"
            raise WeightsError(f"the published weights of {name} cannot be loaded: {error}; {hint}") from error
        raise WeightsError(f"{weights}, as weights of {name}, cannot be loaded: {error}") from error
    try:
        for layer in source.layers:
            if layer.weights:
                network.get_layer(layer.name).set_weights(layer.get_weights())
    except ValueError as error:  # layers over all pixels have weights for each
        raise WeightsError(f"{weights} is of another input than {shape[1]}x{shape[0]} pixels: {error}") from error


def freeze(network: keras.Model) -> None:
    """Leave only the embedding layer to be trained."""
    for layer in network.layers:
        layer.trainable = layer.name == EMBEDDING


def read_backbone(path: str) -> keras.Model:
    """Read a backbone that was saved whole, from color images of pixels 0 to 255 to features.

    Args:
        path: a `.keras` file. Code in it (Lambda layers) is not run.

    Returns:
        A functional model from `[n, height, width, 3]` to features `[n, features]` or `[n, rows, columns, features]`.

    Raises:
        WeightsError: there is no such file, it needs code of its own, or it is of other shapes.
    """
    if not Path(path).is_file():
        raise WeightsError(f"there is no file {path} with a backbone")
    try:
        model: Any = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, OSError, KeyError) as error:
        raise WeightsError(f"{path} cannot be loaded: {error}") from error
    inputs, outputs = getattr(model, "inputs", None) or [], getattr(model, "outputs", None) or []
    if len(inputs) != 1 or len(outputs) != 1:
        raise WeightsError(f"{path} has {len(inputs)} inputs and {len(outputs)} outputs; it needs one of each")
    taken, given = inputs[0].shape, outputs[0].shape
    if len(taken) != 4 or taken[3] != 3:
        raise WeightsError(f"{path} takes {tuple(taken)}; it needs color images (None, height, width, 3)")
    if len(given) not in (2, 4) or given[-1] is None:
        raise WeightsError(f"{path} gives {tuple(given)}; it needs features, a vector or a map of them an image")
    if getattr(model.layers[-1], "activation", None) is keras.activations.softmax:
        raise WeightsError(f"{path} ends in a classifier, whose probabilities are no features; save it without")
    return keras.Model(inputs, outputs, name=model.name)


def _features(name: str, images: Any, weights: str | None = None) -> keras.Model:
    if not is_file(name):
        return application(name)(include_top=False, weights=weights, input_tensor=images, include_preprocessing=True)
    try:
        return keras.models.clone_model(read_backbone(name), input_tensors=[images])
    except ValueError as error:  # a network of one size, given another
        raise WeightsError(f"{name} cannot take {images.shape[2]}x{images.shape[1]} pixels: {error}") from error


def application(name: str) -> Any:
    """Return what builds one of `BACKBONES`."""
    return getattr(applications, BACKBONES[name])


__all__ = ["EMBEDDING", "PUBLISHED", "WeightsError", "application", "backbone_network", "freeze", "load_pretrained"]
