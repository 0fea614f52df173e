"""What a model of ONNX makes of pixels, computed apart: NumPy scales and pools, and the model runs as it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from exemplar_encoder.arrays import Floats64, Pixels


def reference(
    model: onnx.ModelProto,
    output: str,
    pixels: Pixels,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    *,
    bgr: bool = False,
    channels_last: bool = False,
) -> Floats64:
    """Return unit vectors float64 `[n, dimension]` of pixels uint8 `[n, height, width, channels]`.

    Args:
        model: its weights within, for any number of pictures, and with no input but these.
        output: name of one of its outputs.
        pixels: the pictures.
        mean: subtracted of values from 0 to 1, by channel in the model's order.
        std: what the difference is divided by.
        bgr: the model takes blue first.
        channels_last: of the model's pictures and maps.
    """
    values = (pixels[..., ::-1] if bgr else pixels).astype(np.float64) / 255
    values = (values - np.array(mean)) / np.array(std)
    if not channels_last:
        values = values.transpose(0, 3, 1, 2)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    kind = np.float16 if taken.type == "tensor(float16)" else np.float32
    (found,) = session.run([output], {taken.name: values.astype(kind)})
    vectors = found.astype(np.float64)
    if vectors.ndim == 3:
        vectors = vectors[:, 0]
    elif vectors.ndim == 4:
        vectors = vectors.mean(axis=(1, 2) if channels_last else (2, 3))
    unit: Floats64 = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def channels_last(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model that takes pictures, and gives maps, with their channels last, of one with them first."""
    turned = onnx.ModelProto()
    turned.CopyFrom(model)
    graph = turned.graph
    inner, (batch, channels, height, width) = graph.input[0].name, sizes(graph.input[0])
    graph.input[0].CopyFrom(
        helper.make_tensor_value_info(f"{inner}_last", TensorProto.FLOAT, [batch, height, width, channels])
    )
    graph.node.insert(0, helper.make_node("Transpose", [f"{inner}_last"], [inner], perm=[0, 3, 1, 2]))
    for each in graph.output:
        shape = sizes(each)
        if len(shape) == 4:
            name = f"{each.name}_last"
            graph.node.append(helper.make_node("Transpose", [each.name], [name], perm=[0, 2, 3, 1]))
            each.CopyFrom(helper.make_tensor_value_info(name, TensorProto.FLOAT, [shape[0], *shape[2:], shape[1]]))
    return turned


def sizes(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim]


def averages(element_type: int = TensorProto.FLOAT, last: Sequence[str] = ()) -> onnx.ModelProto:
    """Return a model of no weights: the average of each channel, through operators of one input in `last`."""
    nodes = [helper.make_node("ReduceMean", ["pictures"], ["averages"], axes=[2, 3], keepdims=0)]
    name = "averages"
    for index, kind in enumerate(last):
        nodes.append(helper.make_node(kind, [name], [f"{kind}{index}"]))
        name = f"{kind}{index}"
    graph = helper.make_graph(
        nodes,
        "averages",
        [helper.make_tensor_value_info("pictures", element_type, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info(name, element_type, ["n", 3])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
