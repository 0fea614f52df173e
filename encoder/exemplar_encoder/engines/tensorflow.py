"""The engine for machines with a GPU: the bundle's SavedModel in TensorFlow, traced once a batch size."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

from exemplar_encoder.arrays import Floats, Pixels
from exemplar_encoder.engines import BATCH_SIZES

_PATTERN = re.compile(r"[*?\[\]\\]")


class TensorFlowEngine:
    """A concrete function for each batch size. TensorFlow puts it on a GPU where it finds one."""

    name = "tensorflow"
    batch_sizes = BATCH_SIZES
    most_padding = 1.0

    def __init__(self, saved_model: Path, input_shape: tuple[int, int, int]) -> None:
        """Load a SavedModel whose `serve` endpoint takes uint8 `[n, *input_shape]`."""
        with plain_path(saved_model) as path:
            self._model = tf.saved_model.load(str(path))
        traced = tf.function(self._model.serve)
        self._functions = {
            size: traced.get_concrete_function(tf.TensorSpec((size, *input_shape), tf.uint8)) for size in BATCH_SIZES
        }

    def run(self, batch: Pixels) -> Floats:
        """Embed uint8 `[n, height, width, channels]`, n in `BATCH_SIZES`, as float32 `[n, dimension]`."""
        output: Floats = self._functions[len(batch)](tf.constant(batch)).numpy()
        return output


@contextmanager
def plain_path(path: Path) -> Iterator[Path]:
    """Yield a path that TensorFlow opens: it takes brackets and the like in a SavedModel's for a pattern to match."""
    if not _PATTERN.search(str(path.absolute())):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / path.name
        link.symlink_to(path.absolute())
        yield link


def sees_a_gpu() -> bool:
    """Tell whether TensorFlow would run on a GPU here."""
    return bool(tf.config.list_physical_devices("GPU"))
