"""Which networks of others a run can begin with, and from what: known without Keras, which takes seconds to load."""

from __future__ import annotations

from pathlib import Path

# The networks of `keras.applications` that scale pixels themselves, so that images from 0 to 255 go in as everywhere
# here, by their names there.
BACKBONES = {
    "mobilenetv3-small": "MobileNetV3Small",
    "mobilenetv3-large": "MobileNetV3Large",
    "efficientnetv2-b0": "EfficientNetV2B0",
    "efficientnetv2-b1": "EfficientNetV2B1",
    "efficientnetv2-b2": "EfficientNetV2B2",
    "efficientnetv2-b3": "EfficientNetV2B3",
}

PUBLISHED = "imagenet"

_LEAST = 32  # pixels a side


class WeightsError(Exception):
    """A pretrained network or its weights that cannot be had or do not fit; the message says which and what to do."""


def is_file(backbone: str) -> bool:
    """Return whether a backbone is named by a file that holds it."""
    return backbone.endswith(".keras")


def is_backbone(network: str) -> bool:
    """Return whether a network is one of others', with an embedding layer of our own."""
    return network in BACKBONES or is_file(network)


def refuse_missing_weights(weights: str) -> None:
    """Raise WeightsError when a file of weights is not there; `weights` as in a recipe."""
    if weights in ("", PUBLISHED) or Path(weights).is_file():
        return
    if is_file(weights):
        raise WeightsError(f"there is no file {weights} with a backbone")
    raise WeightsError(f"there is no weights file {weights}; give a path, or imagenet for the published weights")


def refuse_input(backbone: str, input_shape: tuple[int, int, int]) -> None:
    """Raise ValueError when a backbone cannot take `(height, width, channels)`."""
    if input_shape[2] != 3:
        raise ValueError(f"{backbone} takes color images; add --color")
    if min(input_shape[:2]) < _LEAST:
        raise ValueError(
            f"{backbone} takes images of {_LEAST} pixels or more a side, not {input_shape[1]}x{input_shape[0]}"
        )
