"""Networks made elsewhere: a Keras model's file, or a published backbone as it is, served like one trained here.

Nothing is trained; all images given are unseen, and serve to measure and to calibrate.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
from keras import layers

from exemplar_encoder import Bundle, Preprocessing
from exemplar_encoder.preprocess import Framing
from exemplar_trainer.bundles.build import Origin, make_bundle
from exemplar_trainer.bundles.keras_network import KerasNetwork
from exemplar_trainer.data.reading import OnCount, read_data_set, uncounted
from exemplar_trainer.data.wording import plural
from exemplar_trainer.networks.backbone import backbone_network, load_pretrained

# The numbers that a model takes black and white as, and what makes them of 0 and 255.
PIXELS: dict[str, dict[str, float]] = {
    "0-255": {"scale": 1.0, "offset": 0.0},
    "0-1": {"scale": 1 / 255, "offset": 0.0},
    "-1-1": {"scale": 2 / 255, "offset": -1.0},
}


class ModelError(Exception):
    """A model's file that cannot be served; the message says what it needs."""


def open_model(path: Path, pixels: str = "0-255") -> keras.Model:
    """Read a model that maps images to vectors.

    Args:
        path: a `.keras` file. Code in it (Lambda layers) is not run.
        pixels: a key of `PIXELS`.

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
    embeddings = model(layers.Rescaling(**PIXELS[pixels], name="pixels")(images))
    (embeddings,) = keras.tree.flatten(embeddings)  # a model saved with a list of outputs gives a list
    unit = layers.UnitNormalization(dtype="float32", name="unit_length")(embeddings)
    return keras.Model(images, unit, name="served")


def open_backbone(name: str, weights: str, size: tuple[int, int]) -> keras.Model:
    """Build a base network of a published backbone's own features.

    Args:
        name: one of `BACKBONES`.
        weights: see `load_pretrained`, which raises WeightsError.
        size: `(width, height)` of its input in pixels.
    """
    network = backbone_network(name, (size[1], size[0], 3), dimension=None)
    load_pretrained(network, name, weights)
    return network


def export_external(
    network: keras.Model,
    made: str,
    data: Path,
    target: Path,
    name: str,
    framing: Framing = "whole",
    max_unreadable: int = 20,
    on_image: OnCount = uncounted,
) -> Bundle:
    """Measure and calibrate a base network on images of the user's, and make a bundle of it.

    Args:
        network: from `open_model` or `open_backbone`.
        made: its origin, for people.
        data: folder or zip of images, see `read_data_set`.
        target: the bundle's folder.
        name: the bundle's.
        framing: the part of an image that an input shows.
        max_unreadable: how many images may be skipped.
        on_image: told of images read and images in all.

    Raises:
        DatasetError: as `read_data_set`.
        BundleError: as `export_bundle`.
    """
    height, width, channels = network.input_shape[1:]
    spec = Preprocessing(width, height, channels, resample="bilinear", framing=framing)
    images = read_data_set(data, spec, max_unreadable, on_image)
    count = len(images.class_names)
    facts = [
        ("made from", made),
        ("trained here", "no"),
        ("measured on", f"{data.name}: {plural(count, 'class', 'classes')}, {plural(len(images.labels), 'image')}"),
        ("unreadable images left out", f"{len(images.skipped):,}"),
        ("input", f"{width} x {height} x {channels}"),
        ("embedding", f"{network.output_shape[-1]} values of unit length"),
    ]
    training = {"held_out": [], "training_classes": 0, "training_images": 0, "held_out_classes": count, "made": made}
    return make_bundle(KerasNetwork(network), Origin(name, "export", spec, facts, training), images, images, target)
