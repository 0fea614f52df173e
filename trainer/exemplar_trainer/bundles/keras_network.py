"""A base network of Keras in a bundle: weights in half precision, for fine-tuning, for TensorFlow and for LiteRT."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

import keras
import numpy as np
from keras import layers

from exemplar_encoder import bundle as layout
from exemplar_encoder.arrays import Floats, Floats64, Pixels
from exemplar_trainer.bundles.half_precision import round_to_half
from exemplar_trainer.bundles.litert import write_litert
from exemplar_trainer.bundles.saved_model import write_saved_model
from exemplar_trainer.networks.fold_normalization import fold_normalization
from exemplar_trainer.training.embed import embed

_UNIT_LENGTH = "unit_length"


class KerasNetwork:
    """The `Network` of a Keras model."""

    def __init__(self, model: keras.Model) -> None:
        """Round a model's weights as a bundle holds them, in place: figures are those of the weights that ship.

        Args:
            model: float32 `[n, height, width, channels]` from 0 to 255 in; its last layer, named "unit_length",
                brings vectors to unit length.
        """
        round_to_half(model)
        self._model = model

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        return int(self._model.output_shape[-1])

    def embed(self, pixels: Pixels) -> Floats:
        """Return embeddings of unit length, float32 `[n, dimension]`."""
        return embed(self._model, pixels)

    def features(self, pixels: Pixels) -> Floats:
        """Return what the last layer brings to unit length, float32 `[n, dimension]`."""
        return embed(keras.Model(self._model.input, self._features), pixels)

    def adapted(self, matrix: Floats64, offset: Floats64) -> KerasNetwork:
        """Return a network with one more dense layer before vectors are brought to unit length; see `Network`."""
        # No direction depends on the scale; this one keeps weights of ordinary size, as half precision needs them.
        scale = np.sqrt(len(offset)) / np.linalg.norm(matrix)
        adaptation = layers.Dense(len(offset), name="adaptation", dtype="float32")
        unit = layers.UnitNormalization(dtype="float32", name=_UNIT_LENGTH)
        outputs = unit(adaptation(self._features))
        adaptation.set_weights([(matrix * scale).astype(np.float32), (offset * scale).astype(np.float32)])
        return KerasNetwork(keras.Model(self._model.input, outputs, name=self._model.name))

    def write(self, folder: Path, pixels: Pixels) -> Floats:
        """Write `base_network.keras`, `saved_model/` and `model.tflite`; see `Network`.

        Raises:
            ModuleNotFoundError: TensorFlow is not installed.
        """
        _write_weights(self._model, folder / layout.WEIGHTS)
        served = fold_normalization(self._model)
        round_to_half(served)
        write_saved_model(served, folder / layout.SAVED_MODEL)
        embeddings = keras.ops.convert_to_numpy(served(pixels.astype(np.float32), training=False)).astype(np.float32)
        write_litert(folder / layout.SAVED_MODEL, folder / layout.LITERT, pixels, embeddings)
        return embeddings

    @property
    def _features(self) -> keras.KerasTensor:
        return self._model.get_layer(_UNIT_LENGTH).input


def _write_weights(model: keras.Model, path: Path) -> None:
    """Write a `.keras` file, packed: of weights rounded to half precision a third of the bytes are zero."""
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        plain = Path(scratch) / path.name
        model.save(plain)
        with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name in source.namelist():
                packed.writestr(name, source.read(name))
