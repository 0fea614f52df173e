"""EfficientNet-Lite with its published ImageNet weights as a `.keras` file, for `exemplar train --backbone`.

    python -m demo.efficientnet_lite_keras lite0 lite0.keras

The same network as `efficientnet_lite` builds in ONNX, from the same packages, with pixels from 0 to 255 going in and
a map of features coming out.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
from keras import layers

from demo.efficientnet_lite import EPSILON, VARIANTS, State, Variant, read_state, strides, weights_file


def build(state: State, variant: Variant) -> keras.Model:
    """Return the network up to its features, from `[n, side, side, 3]` to `[n, side / 32, side / 32, channels]`.

    Args:
        state: the published weights.
        variant: which network they are of.
    """
    images = keras.Input((variant.side, variant.side, 3))
    x = layers.Rescaling(1 / 128, -127 / 128)(images)
    x = _convolution(x, state, "_conv_stem", "_bn0", stride=2)
    for number, stride in enumerate(strides(variant)):
        x = _block(x, state, f"_blocks.{number}.", stride)
    return keras.Model(images, _convolution(x, state, "_conv_head", "_bn1"), name="efficientnet_lite")


def _block(x: Any, state: State, name: str, stride: int) -> Any:
    """Add an inverted residual: widen, filter each channel, narrow."""
    y = x
    if f"{name}_expand_conv.weight" in state:
        y = _convolution(y, state, f"{name}_expand_conv", f"{name}_bn0")
    y = _convolution(y, state, f"{name}_depthwise_conv", f"{name}_bn1", stride)
    y = _convolution(y, state, f"{name}_project_conv", f"{name}_bn2", relu=False)
    return layers.Add()([y, x]) if stride == 1 and x.shape[-1] == y.shape[-1] else y


def _convolution(x: Any, state: State, name: str, normalization: str, stride: int = 1, relu: bool = True) -> Any:
    kernel = state[
        f"{name}.weight"
    ]  # of PyTorch: [out, in, rows, columns], of one in where each channel is by itself
    options = {"strides": stride, "padding": "same", "use_bias": False}
    if kernel.shape[1] == 1:
        convolution, weights = layers.DepthwiseConv2D(kernel.shape[2], **options), kernel.transpose(2, 3, 0, 1)
    else:
        convolution = layers.Conv2D(kernel.shape[0], kernel.shape[2], **options)
        weights = kernel.transpose(2, 3, 1, 0)
    normalized = layers.BatchNormalization(epsilon=EPSILON)
    x = normalized(convolution(x))
    convolution.set_weights([weights])
    parts = ("weight", "bias", "running_mean", "running_var")
    normalized.set_weights([state[f"{normalization}.{part}"] for part in parts])
    return layers.ReLU(6.0)(x) if relu else x


if __name__ == "__main__":
    _, named, target = sys.argv
    build(read_state(weights_file(named)), VARIANTS[named]).save(Path(target))
