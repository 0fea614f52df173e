"""The engine for networks from elsewhere: ONNX Runtime, on a GPU where its CUDA provider is installed, else on a CPU.

The graph takes plain pixels and gives embeddings, as a bundle's other networks do; any other is refused.
"""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from exemplar_encoder.arrays import Floats, Pixels
from exemplar_encoder.engines import BATCH_SIZES

_ERRORS_ONLY = 3

# One by one: what a layer hands to the next stays in a CPU's caches, takes a fraction of a batch's memory, and comes
# out to the same bits in whatever company; see docs/decisions/0034-one-by-one-on-a-cpu.md.
_ON_A_CPU = (1,)

# In half of their digits, as TensorFloat-32 multiplies, embeddings would not be those of the golden samples.
_CUDA = ("CUDAExecutionProvider", {"use_tf32": "0"})


class OnnxEngine:
    """One session for all batch sizes; a graph that was made for one size is run in batches of that size."""

    name = "onnx"
    most_padding = 1.0

    def __init__(self, model: Path, threads: int) -> None:
        """Load an `.onnx` file; `threads` CPU threads share one batch.

        Raises:
            ValueError: its graph is not one from uint8 `[n, height, width, channels]` to float32 `[n, dimension]`.
        """
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that spin while they wait take a processor from those that decode the next images.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        cuda = [_CUDA] if _CUDA[0] in onnxruntime.get_available_providers() else []
        self._session = onnxruntime.InferenceSession(model, options, providers=[*cuda, "CPUExecutionProvider"])
        taken, given = self._session.get_inputs(), self._session.get_outputs()
        if [(each.type, len(each.shape)) for each in taken] != [("tensor(uint8)", 4)]:
            raise ValueError(f"the network takes {_told(taken)}, not one uint8 [n, height, width, channels]")
        if [(each.type, len(each.shape)) for each in given] != [("tensor(float)", 2)]:
            raise ValueError(f"the network gives {_told(given)}, not one float [n, dimension]")
        self._input = taken[0].name
        size = taken[0].shape[0]
        if isinstance(size, int):
            self.batch_sizes: tuple[int, ...] = (size,)
        else:
            # A CUDA provider that finds no GPU leaves the work to the CPU.
            self.batch_sizes = BATCH_SIZES if _CUDA[0] in self._session.get_providers() else _ON_A_CPU

    def run(self, batch: Pixels) -> Floats:
        """Embed uint8 `[n, height, width, channels]`, n in `batch_sizes`, as float32 `[n, dimension]`."""
        output: Floats = self._session.run(None, {self._input: batch})[0]
        return output


def _told(values: list[onnxruntime.NodeArg]) -> str:
    def told(value: onnxruntime.NodeArg) -> str:
        sizes = ", ".join("n" if size is None else str(size) for size in value.shape)
        return f"{value.type.removeprefix('tensor(').removesuffix(')')} [{sizes}]"

    return " and ".join(map(told, values)) or "nothing"
