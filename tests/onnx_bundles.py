"""Makes ONNX networks so small that NumPy computes the same, and bundles of them, without the trainer."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from exemplar_encoder import Manifest, decode, preprocess
from exemplar_encoder import bundle as layout
from exemplar_encoder.arrays import Floats, Pixels
from exemplar_encoder.bundle import seal

DIMENSION = 24


def projection(inputs: int) -> Floats:
    """Return the network's weights, float32 `[inputs, DIMENSION]`; the same ones every time."""
    return np.random.default_rng(24).normal(0, 1 / inputs, (inputs, DIMENSION)).astype(np.float32)


def reference(pixels: Pixels) -> Floats:
    """Embed uint8 `[n, height, width, channels]` as the network does: inverted, projected, of unit length."""
    ink = 255 - pixels.reshape(len(pixels), np.prod(pixels.shape[1:], dtype=int)).astype(np.float32)
    vectors = ink @ projection(ink.shape[1])
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def network(shape: tuple[int, int, int], batch: int | str = "n") -> onnx.ModelProto:
    """Return the network for inputs uint8 `[batch, *shape]`, for any number of them where `batch` is a name."""
    inputs = int(np.prod(shape))
    constants = {
        "white": np.float32(255),
        "flat": np.array([-1, inputs], dtype=np.int64),
        "projection": projection(inputs),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["white", "values"], ["ink"]),
        helper.make_node("Reshape", ["ink", "flat"], ["vectors"]),
        helper.make_node("MatMul", ["vectors", "projection"], ["features"]),
        helper.make_node("LpNormalization", ["features"], ["embeddings"], axis=1, p=2),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, [batch, *shape])],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, [batch, DIMENSION])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)])


def make_onnx_bundle(like: Path, target: Path, batch: int | str = "n") -> Path:
    """Write a bundle for ONNX Runtime alone, otherwise as another one is, and return its folder."""
    shutil.copytree(like, target, ignore=shutil.ignore_patterns(layout.LITERT, layout.SAVED_MODEL, layout.WEIGHTS))
    manifest = Manifest.from_json((like / layout.MANIFEST).read_bytes())
    spec = manifest.preprocessing
    onnx.save(network(spec.shape, batch), target / layout.ONNX)
    images = [(target / layout.golden_image(index)).read_bytes() for index in range(layout.GOLDEN_SAMPLES)]
    pixels = np.stack([preprocess(decode(image, background=spec.background).pixels, spec) for image in images])
    np.save(target / layout.GOLDEN_EMBEDDINGS, reference(pixels))
    seal(target, dataclasses.replace(manifest, name="tiny-onnx", dimension=DIMENSION))
    return target
