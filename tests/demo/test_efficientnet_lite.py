"""EfficientNet-Lite is built twice, for ONNX and for Keras, and both are one function."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest

from demo import efficientnet_lite, efficientnet_lite_keras
from demo.efficientnet_lite import State, Variant
from exemplar_encoder.arrays import Floats

VARIANT = Variant(1.0, 64)

WIDTH = 4


def drawn_state() -> State:
    """Return weights of a network as deep as lite0 and very narrow."""
    rng = np.random.default_rng(0)
    state: dict[str, Floats] = {}

    def convolution(name: str, normalization: str, shape: tuple[int, ...]) -> None:
        state[f"{name}.weight"] = rng.normal(0.0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32)
        state[f"{normalization}.weight"] = rng.uniform(0.5, 1.5, shape[0]).astype(np.float32)
        state[f"{normalization}.bias"] = rng.normal(0.5, 0.2, shape[0]).astype(np.float32)
        state[f"{normalization}.running_mean"] = rng.normal(0.0, 0.2, shape[0]).astype(np.float32)
        state[f"{normalization}.running_var"] = rng.uniform(0.5, 1.5, shape[0]).astype(np.float32)

    convolution("_conv_stem", "_bn0", (WIDTH, 3, 3, 3))
    for number, stride in enumerate(efficientnet_lite.strides(VARIANT)):
        name, wide = f"_blocks.{number}.", WIDTH if number == 0 else 2 * WIDTH
        if number:
            convolution(f"{name}_expand_conv", f"{name}_bn0", (wide, WIDTH, 1, 1))
        side = 5 if stride == 2 else 3
        convolution(f"{name}_depthwise_conv", f"{name}_bn1", (wide, 1, side, side))
        convolution(f"{name}_project_conv", f"{name}_bn2", (WIDTH, wide, 1, 1))
    convolution("_conv_head", "_bn1", (16, WIDTH, 1, 1))
    return state


def test_the_network_in_keras_is_the_one_in_onnx() -> None:
    state = drawn_state()
    images = np.random.default_rng(1).uniform(0, 255, (2, VARIANT.side, VARIANT.side, 3)).astype(np.float32)
    session = onnxruntime.InferenceSession(efficientnet_lite.build(state, VARIANT).SerializeToString())
    (expected,) = session.run(None, {"pixel_values": ((images - 127) / 128).transpose(0, 3, 1, 2)})
    network = efficientnet_lite_keras.build(state, VARIANT)
    assert network.output_shape == (None, 2, 2, 16)
    found = np.asarray(keras.ops.mean(network(images), axis=(1, 2)))
    assert expected.std() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_weights_that_ask_for_anything_but_tensors_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    file.write_bytes(pickle.dumps(os.getcwd))
    with pytest.raises(pickle.UnpicklingError, match="getcwd has no place in a file of weights"):
        efficientnet_lite.read_state(file)
