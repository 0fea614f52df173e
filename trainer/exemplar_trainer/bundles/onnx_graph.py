"""Completes the graph of a model from elsewhere: plain pixels at its front, vectors at its end.

`wrap` puts scaling before it and pooling after it, so that uint8 `[n, height, width, channels]` makes features
`[n, dimension]`; `finish` brings these to unit length, through a linear map where there is one. Nodes are added by
operators that every opset since 7 has alike; the model's own nodes and opset stay as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from exemplar_encoder.arrays import Floats
from exemplar_trainer.bundles.network import ModelError
from exemplar_trainer.bundles.onnx_file import PictureModel
from exemplar_trainer.bundles.scaling import Scaling
from exemplar_trainer.data.wording import plural

_LEAST_OPSET = 7
# What no tensor of a model is called.
_PIXELS, _FEATURES, _EMBEDDINGS = "exemplar/pixels", "exemplar/features", "exemplar/embeddings"
# Added to a squared length, it keeps a vector of zeros what it is, and is lost beside any other.
_TINY = 1e-24
_ERRORS_ONLY = 4
_SEVERAL = 2


def wrap(model: PictureModel, scaling: Scaling, height: int, width: int) -> onnx.ModelProto:
    """Make a graph from pixels to features of a model.

    Args:
        model: as it was read; it is used up.
        scaling: how it takes pixels.
        height: of its input, in pixels.
        width: likewise.

    Returns:
        A graph from uint8 `[n, height, width, channels]` to float32 `[n, dimension]`: an output in two dimensions as
        it is, of tokens the first, of a map the average over the picture.

    Raises:
        ModelError: it takes pictures of another size, is too old, cannot be run, or gives no vector a picture.
    """
    path, proto = model.path, model.proto
    for mine, asked in ((model.height, height), (model.width, width)):
        if mine not in (None, asked):
            raise ModelError(
                f"{path} takes pictures of {model.width} x {model.height} pixels, not of {width} x {height}"
            )
    opset = next((each.version for each in proto.opset_import if each.domain in ("", "ai.onnx")), 0)
    if opset < _LEAST_OPSET:
        raise ModelError(f"{path} is of opset {opset}; export it with opset {_LEAST_OPSET} or a later one")
    batch, size = model.batch, (height, width, model.channels)
    _put_scaling_before(model, scaling, height, width)
    raw = _node(proto.graph, "Cast", [model.output], "exemplar/raw", to=TensorProto.FLOAT)
    proto.graph.output.append(onnx.ValueInfoProto(name=raw))
    try:
        outcome = _outcome(model, (batch or _SEVERAL, *size))
    except ModelError:
        if batch is not None:
            raise
        # A file may say any number where its exporter made the graph for the one picture that it was shown.
        batch, outcome = 1, _outcome(model, (1, *size))
        proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    _put_pooling_after(model, raw, outcome, batch or "n")
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"{path} breaks the rules of ONNX: {error}") from error
    return proto


def finish(features: onnx.ModelProto, matrix: Floats | None = None, offset: Floats | None = None) -> onnx.ModelProto:
    """Make a graph from pixels to unit vectors of one from `wrap`.

    Args:
        features: the graph; it stays as it is.
        matrix: float32 `[dimension, dimension]`, to multiply features by from the right.
        offset: float32 `[dimension]`, to add then.
    """
    finished = onnx.ModelProto()
    finished.CopyFrom(features)
    graph, name = finished.graph, _FEATURES
    dimension = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    if matrix is not None and offset is not None:
        name = _node(graph, "MatMul", [name, _weight(graph, "exemplar/matrix", matrix)], "exemplar/mapped")
        name = _node(graph, "Add", [name, _weight(graph, "exemplar/offset", offset)], "exemplar/adapted")
    squares = _node(graph, "Mul", [name, name], "exemplar/squares")
    ones = _weight(graph, "exemplar/ones", np.ones((dimension, 1), np.float32))
    length = _node(graph, "MatMul", [squares, ones], "exemplar/squared_length")
    length = _node(
        graph, "Add", [length, _weight(graph, "exemplar/tiny", np.array([_TINY], np.float32))], "exemplar/no_zero"
    )
    _node(graph, "Div", [name, _node(graph, "Sqrt", [length], "exemplar/length")], _EMBEDDINGS)
    graph.output[0].name = _EMBEDDINGS
    return finished


def _put_scaling_before(model: PictureModel, scaling: Scaling, height: int, width: int) -> None:
    graph = onnx.GraphProto()  # of the new nodes: they go before those that are there
    channels = model.channels
    name = _node(graph, "Cast", [_PIXELS], "exemplar/cast", to=TensorProto.FLOAT)
    if scaling.bgr:
        name = _node(
            graph,
            "Gather",
            [name, _weight(graph, "exemplar/order", np.arange(channels)[::-1])],
            "exemplar/bgr",
            axis=3,
        )
    mean, std = (_by_channel(values, channels) for values in (scaling.mean, scaling.std))
    factor, shift = (np.broadcast_to(each, channels).astype(np.float32) for each in (scaling.scale / std, mean / std))
    name = _node(graph, "Mul", [name, _weight(graph, "exemplar/factor", factor)], "exemplar/scaled")
    name = _node(graph, "Sub", [name, _weight(graph, "exemplar/shift", shift)], "exemplar/shifted")
    if not model.channels_last:
        name = _node(graph, "Transpose", [name], "exemplar/channels_first", perm=[0, 3, 1, 2])
    _node(graph, "Cast", [name], model.input, to=model.element_type)
    graph.node.extend(model.proto.graph.node)
    del model.proto.graph.node[:]
    model.proto.graph.MergeFrom(graph)
    del model.proto.graph.input[:]
    shape = [model.batch or "n", height, width, channels]
    model.proto.graph.input.append(helper.make_tensor_value_info(_PIXELS, TensorProto.UINT8, shape))


def _put_pooling_after(model: PictureModel, name: str, outcome: Floats, batch: int | str) -> None:
    graph, dimension = model.proto.graph, outcome.shape[-1]
    if outcome.ndim == 3:
        _node(graph, "Gather", [name, _weight(graph, "exemplar/first", np.array(0))], _FEATURES, axis=1)
    elif outcome.ndim == 4:
        if model.channels_last:
            name = _node(graph, "Transpose", [name], "exemplar/map", perm=[0, 3, 1, 2])
        else:
            dimension = outcome.shape[1]
        average = _node(graph, "GlobalAveragePool", [name], "exemplar/average")
        _node(graph, "Flatten", [average], _FEATURES)
    else:
        _node(graph, "Identity", [name], _FEATURES)
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(_FEATURES, TensorProto.FLOAT, [batch, dimension]))


def _outcome(model: PictureModel, shape: tuple[int, ...]) -> Floats:
    """Return what a batch of black pictures makes: its shape by what the model does, not by what its file says."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = model.proto.SerializeToString()
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        outcome: Floats = session.run(None, {_PIXELS: np.zeros(shape, np.uint8)})[0]
    except Exception as error:  # ONNX Runtime's errors have no common kind
        told = str(error).strip().splitlines()[0]
        raise ModelError(
            f"{model.path} cannot be run on a picture of {shape[2]} x {shape[1]} pixels: {told}"
        ) from error
    if outcome.ndim not in (2, 3, 4) or len(outcome) != shape[0]:
        raise ModelError(
            f"{model.path}: output {model.output} is {list(outcome.shape)} for {plural(shape[0], 'picture')}; it "
            "must be [n, dimension], [n, tokens, dimension] or a map of 4 dimensions: name another with --output"
        )
    return outcome


def _by_channel(values: tuple[float, ...], channels: int) -> npt.NDArray[np.float64]:
    return np.array(values[:channels], np.float64)


def _node(graph: onnx.GraphProto, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
    """Add a node, and return the name of its output."""
    graph.node.append(helper.make_node(kind, inputs, [output], **attributes))
    return output


def _weight(graph: onnx.GraphProto, name: str, values: npt.NDArray[Any]) -> str:
    graph.initializer.append(numpy_helper.from_array(np.array(values, order="C"), name))  # a scalar stays one
    return name
