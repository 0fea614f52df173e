"""The engine for networks from elsewhere: ONNX Runtime, on a GPU where its CUDA provider is installed, else on a CPU.

The graph takes plain pixels and gives embeddings, as a bundle's other networks do; any other is refused.
"""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from exemplar_encoder.arrays import Floats, Pixels
from exemplar_encoder.engines import BATCH_SIZES

_ERRORS_ONLY = 3

# In half of their digits, as TensorFloat-32 multiplies, embeddings would not be those of the golden samples.
_CUDA = ("CUDAExecutionProvider", {"use_tf32": "0"})


class OnnxEngine:
    """One session for all batch sizes; a graph made for one size of batch is run in batches of that size."""

    name = "onnx"

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
        available = onnxruntime.get_available_providers()
        providers = [*([_CUDA] if _CUDA[0] in available else []), "CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(model, options, providers=providers)
        taken, given = self._session.get_inputs(), self._session.get_outputs()
        if [(each.type, len(each.shape)) for each in taken] != [("tensor(uint8)", 4)]:
            raise ValueError(f"the network takes {_told(taken)}, not one uint8 [n, height, width, channels]")
        if [(each.type, len(each.shape)) for each in given] != [("tensor(float)", 2)]:
            raise ValueError(f"the network gives {_told(given)}, not one float [n, dimension]")
        self._input = taken[0].name
        size = taken[0].shape[0]
        self.batch_sizes: tuple[int, ...] = (size,) if isinstance(size, int) else BATCH_SIZES

    def run(self, batch: Pixels) -> Floats:
        """Embed uint8 `[n, height, width, channels]`, n in `batch_sizes`, as float32 `[n, dimension]`."""
        output: Floats = self._session.run(None, {self._input: batch})[0]
        return output


def _told(values: list[onnxruntime.NodeArg]) -> str:
    def told(value: onnxruntime.NodeArg) -> str:
        sizes = ", ".join("n" if size is None else str(size) for size in value.shape)
        return f"{value.type.removeprefix('tensor(').removesuffix(')')} [{sizes}]"

    return " and ".join(map(told, values)) or "nothing"
