"""A network as TensorFlow's SavedModel: uint8 images in, embeddings out, weights in half precision where they fit.

It is written on Keras's TensorFlow backend. Where a run computes on another one, this module does its work as a
process of its own: `python -m exemplar_trainer.bundles.saved_model NETWORK.keras FOLDER`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from exemplar_trainer.bundles.half_precision import fits_half


def write_saved_model(network: keras.Model, path: Path) -> None:
    """Write a network from float32 `[n, height, width, channels]` to a folder, whatever the backend.

    Raises:
        ModuleNotFoundError: TensorFlow is not installed.
        RuntimeError: the process that writes it failed; with its last words.
    """
    import tensorflow as tf

    if keras.backend.backend() != "tensorflow":
        _write_elsewhere(network, path)
        return
    # A plain module with variables of its own: Keras's export keeps two copies of every weight, in full precision.
    module = tf.Module()
    stored = [keras.ops.convert_to_numpy(variable.value) for variable in network.variables]
    module.weights = [tf.Variable(values.astype(np.float16) if fits_half(values) else values) for values in stored]
    trainable = {id(variable) for variable in network.trainable_variables}

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def serve(images: Any) -> Any:
        values = dict(zip(map(id, network.variables), module.weights, strict=True))
        outputs, _ = network.stateless_call(
            [tf.cast(values[id(each)], each.dtype) for each in network.trainable_variables],
            [tf.cast(values[id(each)], each.dtype) for each in network.variables if id(each) not in trainable],
            keras.ops.cast(images, "float32"),
            training=False,
        )
        return outputs

    images = tf.TensorSpec((None, *network.input_shape[1:]), tf.uint8)
    module.serve = tf.function(serve, input_signature=[images])
    tf.saved_model.save(module, str(path), signatures={"serve": module.serve})


def _write_elsewhere(network: keras.Model, path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        file = Path(scratch) / "network.keras"
        network.save(file)
        done = subprocess.run(
            [sys.executable, "-m", __name__, str(file), str(path)],
            env={**os.environ, "KERAS_BACKEND": "tensorflow"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise RuntimeError(f"the SavedModel could not be written:\n{done.stderr[-2000:]}")


if __name__ == "__main__":
    write_saved_model(keras.saving.load_model(sys.argv[1], compile=False), Path(sys.argv[2]))
