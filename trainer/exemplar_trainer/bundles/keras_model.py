"""Base networks of Keras from elsewhere: a model's file, or a published backbone as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
from keras import layers

from exemplar_trainer.bundles.network import ModelError
from exemplar_trainer.bundles.scaling import Scaling
from exemplar_trainer.networks.backbone import backbone_network, load_pretrained


def open_model(path: Path, scaling: Scaling) -> keras.Model:
    """Read a model that maps images to vectors.

    Args:
        path: a `.keras` file. Code in it (Lambda layers) is not run.
        scaling: one of `PIXELS`.

    Returns:
        A base network: float32 `[n, height, width, channels]` from 0 to 255 in, unit vectors out.

    Raises:
        ModelError: there is no such file, it needs code of its own, or it is of other shapes.
    """
    if path.suffix != ".keras" or not path.is_file():
        raise ModelError(f"{path} is no .keras file; save the model with model.save('name.keras')")
    try:
        model: Any = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, OSError, KeyError) as error:
        raise ModelError(f"{path} cannot be loaded: {error}") from error
    inputs, outputs = getattr(model, "inputs", None) or [], getattr(model, "outputs", None) or []
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(f"{path} has {len(inputs)} inputs and {len(outputs)} outputs; it needs one of each")
    shape, vector = tuple(inputs[0].shape), tuple(outputs[0].shape)
    if len(shape) != 4 or None in shape[1:] or shape[3] not in (1, 3):
        raise ModelError(f"{path} takes {shape}; it needs images (None, height, width, 1 or 3) of a fixed size")
    if len(vector) != 2 or vector[1] is None:
        raise ModelError(f"{path} gives {vector}; it needs one vector an image, (None, dimension)")
    images = keras.Input(shape[1:], name="images")
    embeddings = model(layers.Rescaling(scaling.scale, offset=-scaling.mean[0], name="pixels")(images))
    (embeddings,) = keras.tree.flatten(embeddings)  # a model saved with a list of outputs gives a list
    unit = layers.UnitNormalization(dtype="float32", name="unit_length")(embeddings)
    return keras.Model(images, unit, name="served")


def open_backbone(name: str, weights: str, size: tuple[int, int]) -> keras.Model:
    """Build a base network of a published backbone's own features.

    Args:
        name: one of `BACKBONES`.
        weights: see `load_pretrained`, which raises WeightsError; empty: random ones, the same every time.
        size: `(width, height)` of its input in pixels.
    """
    keras.utils.set_random_seed(0)
    network = backbone_network(name, (size[1], size[0], 3), dimension=None)
    if weights:
        load_pretrained(network, name, weights)
    return network
