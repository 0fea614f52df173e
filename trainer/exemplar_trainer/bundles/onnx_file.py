"""Reads an ONNX model from elsewhere, cut to what makes one output of pictures.

Whole models that take text, too, serve by their pictures' half. Weights in files of their own are read in, so that
what is left is one piece, and only those that the output needs: the rest may be larger than one piece can be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, external_data_helper

from exemplar_trainer.bundles.network import ModelError

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
# Outputs that are known to be made for comparing pictures, the most fit first.
_KNOWN = ("image_embeds", "pooler_output")
_RANKS = (2, 3, 4)
# Protocol buffers hold less than 2 GiB; a few kilobytes are added later.
_MOST_BYTES = 2**31 - 2**20


@dataclass(frozen=True)
class PictureModel:
    """A graph of one input, pictures, and one output.

    Attributes:
        path: where it is from, for messages.
        proto: the graph, its weights within.
        input: the input's name.
        output: the output's name.
        element_type: of the input, a number of `onnx.TensorProto`.
        batch: the pictures that it takes at once; None: any number.
        height: of pictures, in pixels; None: not said.
        width: likewise.
        channels: 1 or 3.
        channels_last: pictures are `[n, height, width, channels]`, not `[n, channels, height, width]`.
    """

    path: Path
    proto: onnx.ModelProto
    input: str
    output: str
    element_type: int
    batch: int | None
    height: int | None
    width: int | None
    channels: Literal[1, 3]
    channels_last: bool


def read_onnx(path: Path, output: str = "") -> PictureModel:
    """Read a model and cut it.

    Args:
        path: an `.onnx` file; files with its weights lie beside it.
        output: name of an output, or of any tensor within, to end with. Without one: `image_embeds`, `pooler_output`,
            the only output, or the first of floats, in 2 to 4 dimensions, that is made of pictures alone.

    Raises:
        ModelError: it is no ONNX model, a file of weights is missing, it is too large, or no output is made of
            pictures alone.
        OSError: a file cannot be read.
    """
    if path.stat().st_size > _MOST_BYTES:
        raise ModelError(f"{path} {_TOO_LARGE}")
    try:
        proto = onnx.load_model(path, load_external_data=False)
    except DecodeError as error:
        raise ModelError(f"{path} is no ONNX model, or not all of it: {error}") from error
    if not proto.graph.output:
        raise ModelError(f"{path} is no ONNX model, or not all of it: it has no outputs")
    chosen = _choose(path, proto, output)
    _cut(proto, chosen)
    pictures = _one_input(path, proto.graph, chosen)
    _load_weights(path, proto)
    return _described(path, proto, pictures, chosen)


_TOO_LARGE = "is larger than the 2 GB that one ONNX file can hold; export it in half precision"


def _choose(path: Path, proto: onnx.ModelProto, output: str) -> str:
    graph = proto.graph
    names = [each.name for each in graph.output]
    if output:
        if output not in names and not any(output in node.output for node in graph.node):
            raise ModelError(f"{path} has no output {output!r}, nor a tensor of that name; {_outputs(names)}")
        return output
    for known in _KNOWN:
        if known in names:
            return known
    if len(names) == 1:
        return names[0]
    declared = {each.name: each.type.tensor_type for each in onnx.shape_inference.infer_shapes(proto).graph.output}
    for name in names:
        tensor, inputs = declared[name], _inputs(graph, name)
        if tensor.elem_type not in _FLOATS or len(tensor.shape.dim) not in _RANKS:
            continue
        if len(inputs) == 1 and _takes_pictures(inputs[0]):
            return name
    raise ModelError(
        f"{path} has no output of floats in 2 to 4 dimensions that is made of pictures alone; "
        f"name one with --output; {_outputs(names)}"
    )


def _cut(proto: onnx.ModelProto, output: str) -> None:
    """Remove what an output does not need, in place."""
    graph = proto.graph
    nodes, names = _needs(graph, output)
    for index in reversed(range(len(graph.node))):
        if index not in nodes:
            del graph.node[index]
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in names:
            del graph.initializer[index]
    weights = _weights(graph)
    for index in reversed(range(len(graph.input))):
        if graph.input[index].name not in names - weights:
            del graph.input[index]
    # Weights are inputs, too, in files older than this version of the format.
    proto.ir_version = max(proto.ir_version, 4)
    del graph.output[:]
    del graph.value_info[:]  # may name sizes that the wrapped graph no longer leaves open


def _one_input(path: Path, graph: onnx.GraphProto, output: str) -> onnx.ValueInfoProto:
    names = [each.name for each in graph.input]
    if len(names) != 1:
        needed = f"the inputs {', '.join(names)}" if names else "no input"
        raise ModelError(
            f"{path}: output {output} needs {needed}; it must need pictures alone: name another with --output, or "
            "export the part of the model that takes pictures"
        )
    if not _takes_pictures(graph.input[0]):
        raise ModelError(
            f"{path}: output {output} is made of {_told(graph.input[0])}; pictures are floats in 4 dimensions, "
            "[n, channels, height, width] or [n, height, width, channels]"
        )
    return graph.input[0]


def _described(path: Path, proto: onnx.ModelProto, pictures: onnx.ValueInfoProto, output: str) -> PictureModel:
    batch, *sizes = (dim.dim_value or None for dim in pictures.type.tensor_type.shape.dim)
    channels_last = sizes[0] not in (1, 3) and sizes[2] in (1, 3)
    if channels_last:
        height, width, channels = sizes
    else:
        channels, height, width = sizes
    if channels not in (1, 3, None):
        raise ModelError(f"{path} takes {_told(pictures)}; it needs pictures of 1 or 3 channels")
    element_type = pictures.type.tensor_type.elem_type
    known: Literal[1, 3] = 1 if channels == 1 else 3
    return PictureModel(path, proto, pictures.name, output, element_type, batch, height, width, known, channels_last)


def _load_weights(path: Path, proto: onnx.ModelProto) -> None:
    """Read weights in from the files that they are in."""
    size = proto.ByteSize()
    outside = [tensor for tensor in _tensors(proto.graph) if external_data_helper.uses_external_data(tensor)]
    for tensor in outside:
        told = external_data_helper.ExternalDataInfo(tensor)
        file = path.parent / told.location
        if not file.is_file():
            raise ModelError(f"{path} needs {file}, which holds its weights; put both into one folder")
        size += told.length or file.stat().st_size
    if size > _MOST_BYTES:
        raise ModelError(f"{path} {_TOO_LARGE}")
    for tensor in outside:
        _load(path, tensor)


def _load(path: Path, tensor: onnx.TensorProto) -> None:
    # The library's own reader refuses links, and those are what a download cache holds.
    told = external_data_helper.ExternalDataInfo(tensor)
    file = path.parent / told.location
    with file.open("rb") as stream:
        stream.seek(told.offset or 0)
        tensor.raw_data = stream.read(-1 if told.length is None else told.length)
    if len(tensor.raw_data) < (told.length or 0):
        raise ModelError(f"{file}, which holds the weights of {path.name}, is cut short; download it again")
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            for inner in _graphs(attribute):
                yield from _tensors(inner)


def _inputs(graph: onnx.GraphProto, output: str) -> list[onnx.ValueInfoProto]:
    """Return the inputs that an output needs."""
    names = _needs(graph, output)[1] - _weights(graph)
    return [each for each in graph.input if each.name in names]


def _needs(graph: onnx.GraphProto, output: str) -> tuple[set[int], set[str]]:
    """Return positions of the nodes, and names of the tensors, that an output is made of."""
    made_by = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    nodes, names, waiting = set[int](), set[str](), [output]
    while waiting:
        name = waiting.pop()
        if name in names:
            continue
        names.add(name)
        if name in made_by:
            nodes.add(made_by[name])
            waiting += _read(graph.node[made_by[name]])
    return nodes, names


def _read(node: onnx.NodeProto) -> list[str]:
    """Return names of the tensors that a node reads, also from within the branches and loops that it holds."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        for inner in _graphs(attribute):
            names += [name for each in inner.node for name in _read(each)]
            names += [each.name for each in inner.output]
    return names


def _graphs(attribute: onnx.AttributeProto) -> list[onnx.GraphProto]:
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def _weights(graph: onnx.GraphProto) -> set[str]:
    return {each.name for each in graph.initializer} | {each.values.name for each in graph.sparse_initializer}


def _takes_pictures(value: onnx.ValueInfoProto) -> bool:
    tensor = value.type.tensor_type
    return tensor.elem_type in _FLOATS and len(tensor.shape.dim) == 4


def _told(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    sizes = ", ".join(dim.dim_param or str(dim.dim_value or "?") for dim in tensor.shape.dim)
    return f"{value.name}, {TensorProto.DataType.Name(tensor.elem_type).lower()} [{sizes}]"


def _outputs(names: list[str]) -> str:
    return f"its outputs: {', '.join(names)}"
