"""Small ONNX networks with random weights, in the forms that exporters give theirs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Of one picture: a vector `[dimension]`, tokens `[1 + patches, dimension]` with the class's first, or a feature map
# `[dimension, rows, columns]`.
Form = Literal["vector", "tokens", "map"]

VECTOR: Mapping[str, Form] = {"embeddings": "vector"}
HUGGING_FACE: Mapping[str, Form] = {"last_hidden_state": "tokens", "pooler_output": "vector"}

_PATCH = 8


def tiny_onnx(
    outputs: Mapping[str, Form] = VECTOR,
    *,
    size: tuple[int, int] | None = (32, 32),
    batch: int | str = "batch",
    channels: int = 3,
    dimension: int = 12,
    input_name: str = "pixel_values",
    text: bool = False,
    gain: bool = False,
    seed: int = 0,
) -> onnx.ModelProto:
    """Make a network from float32 pictures `[batch, channels, height, width]`: a convolution, tanh, and its heads.

    Args:
        outputs: name and form of each, in the model's order. Two of one form differ.
        size: `(height, width)` of its pictures, multiples of 8; None takes any.
        batch: the pictures that it takes at once; a name takes any number.
        channels: of its pictures.
        dimension: of its outputs.
        input_name: of the pictures.
        text: add inputs `input_ids` and `attention_mask`, int64 `[texts, words]`, and a first output `text_embeds` of
            them, that the other outputs do not need.
        gain: add an input `gain`, float32 `[1]`, that all outputs need.
        seed: of the weights.
    """
    rng = np.random.default_rng(seed)
    height, width = size or ("height", "width")
    inputs = [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, [batch, channels, height, width])]
    results: list[onnx.ValueInfoProto] = []
    weights: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []

    def weight(name: str, array: np.ndarray) -> str:
        weights.append(numpy_helper.from_array(array, name))
        return name

    def node(kind: str, sources: list[str], target: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, sources, [target], **attributes))
        return target

    def random(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    if text:
        inputs += [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "words"])
            for name in ("input_ids", "attention_mask")
        ]
        words = node("Cast", [node("Mul", ["input_ids", "attention_mask"], "words")], "numbers", to=TensorProto.FLOAT)
        total = node("ReduceMean", [words], "total", axes=[1], keepdims=1)
        node("Mul", [total, weight("text_weights", random(1, dimension))], "text_embeds")
        results.append(helper.make_tensor_value_info("text_embeds", TensorProto.FLOAT, ["texts", dimension]))

    kernel, bias = weight("kernel", random(dimension, channels, _PATCH, _PATCH)), weight("bias", random(dimension))
    patches = node("Conv", [input_name, kernel, bias], "patches", strides=[_PATCH, _PATCH])
    features = node("Tanh", [patches], "features")
    if gain:
        inputs.append(helper.make_tensor_value_info("gain", TensorProto.FLOAT, [1]))
        features = node("Mul", [features, "gain"], "amplified")
    pooled = node("Flatten", [node("GlobalAveragePool", [features], "averages")], "pooled")
    if "tokens" in outputs.values():
        columns = weight("columns", np.array([0, dimension, -1], np.int64))
        node("Transpose", [node("Reshape", [features, columns], "rows")], "tokens", perm=[0, 2, 1])
        weight("one_token", np.array([0, 1, dimension], np.int64))
    rows, across = (None, None) if size is None else (size[0] // _PATCH, size[1] // _PATCH)
    for name, form in outputs.items():
        if form == "vector":
            node("MatMul", [pooled, weight(f"{name}_weights", random(dimension, dimension))], name)
            shape: list[int | str | None] = [batch, dimension]
        elif form == "tokens":
            mixed = node("MatMul", [pooled, weight(f"{name}_weights", random(dimension, dimension))], f"{name}_mixed")
            node("Concat", [node("Reshape", [mixed, "one_token"], f"{name}_class"), "tokens"], name, axis=1)
            shape = [batch, None if rows is None or across is None else 1 + rows * across, dimension]
        else:
            filters = weight(f"{name}_filters", random(dimension, dimension, 1, 1))
            node("Conv", [features, filters], name)
            shape = [batch, dimension, rows, across]
        results.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    graph = helper.make_graph(nodes, "tiny", inputs, results, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def write_onnx(model: onnx.ModelProto, path: Path, *, external: bool = False) -> Path:
    """Write a model, and its weights into a file `NAME_data` beside it where they are external."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = onnx.ModelProto()
    kept.CopyFrom(model)  # saving moves external weights out of the model that it is given
    if external:
        onnx.save_model(kept, path, save_as_external_data=True, location=path.name + "_data", size_threshold=1024)
    else:
        onnx.save_model(kept, path)
    return path
