"""The default engine: LiteRT with XNNPACK on the CPU, without TensorFlow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from exemplar_encoder.arrays import Floats, Pixels
from exemplar_encoder.engines.native_notes import without_native_notes


class LiteRTEngine:
    """One interpreter for each batch size; shapes are fixed at the start, so XNNPACK takes the whole graph."""

    name = "litert"
    # On a CPU each image of a batch takes its time, so batches are hardly padded; two are there for the rest.
    batch_sizes: tuple[int, ...] = (1, 2, 8, 32)
    most_padding = 1 / 8

    def __init__(self, model: Path, threads: int) -> None:
        """Load a `.tflite` file; `threads` CPU threads share one batch."""
        content = model.read_bytes()
        with without_native_notes():
            self._interpreters = {size: _interpreter(content, size, threads) for size in self.batch_sizes}

    def run(self, batch: Pixels) -> Floats:
        """Embed uint8 `[n, height, width, channels]`, n in `batch_sizes`, as float32 `[n, dimension]`."""
        interpreter = self._interpreters[len(batch)]
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], batch)
        interpreter.invoke()
        output: Floats = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        return output


def _interpreter(content: bytes, batch_size: int, threads: int) -> Interpreter:
    interpreter = Interpreter(model_content=content, num_threads=threads)
    details = interpreter.get_input_details()[0]
    if details["dtype"] != np.uint8:
        raise ValueError(f"the network takes {details['dtype'].__name__}, not uint8")
    interpreter.resize_tensor_input(details["index"], [batch_size, *details["shape"][1:]], strict=False)
    interpreter.allocate_tensors()
    return interpreter
