"""Makes the bundle that the tests share: `python -m tests.make_bundles` writes tests/bundles/tiny anew.

Its network is computed, not trained: ink is averaged to 8 x 8 cells, and a linear discriminant (Fisher, 1936) of
drawn alphabets turns these into 32 values. That takes seconds, is of a few kilobytes, tells drawn characters apart,
and is so well-conditioned that every processor gets the same embeddings to within rounding. Everything else is the
trainer's own: the split, the calibration, the report and the export.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import keras
import numpy as np
from keras import layers

from demo.strokes import draw_alphabets
from exemplar_encoder import Preprocessing
from exemplar_encoder.arrays import Floats64, Pixels
from exemplar_trainer.bundles.build import Origin, make_bundle
from exemplar_trainer.bundles.keras_network import KerasNetwork
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.data.reading import read_images
from exemplar_trainer.data.split import split

BUNDLES = Path(__file__).parent / "bundles"
HELD_OUT = ("Alphabet00", "Alphabet05")
DIMENSION = 32

_SIDE, _CELL = 32, 4
_SPEC = Preprocessing(_SIDE, _SIDE, 1, resample="bilinear", framing="ink", levels="stretched")


def make_tiny(target: Path) -> None:
    """Write the bundle; its first six alphabets are those of the fixture `drawn_alphabets`, two of them held out."""
    with tempfile.TemporaryDirectory() as scratch:
        draw_alphabets(Path(scratch), alphabets=40, characters=8, drawers=6)
        parts = split(read_images(Path(scratch), _SPEC), HELD_OUT)
    training, unseen = parts.training, parts.held_out
    judged_on = f"{len(unseen.class_names)} classes that training never saw"
    facts = [("network", "averages of 8 x 8 cells and a linear discriminant"), ("training classes", "304")]
    told = {
        "held_out": list(HELD_OUT),
        "measured_without": list(HELD_OUT),
        "training_classes": len(training.class_names),
        "training_images": len(training.labels),
        "held_out_classes": len(unseen.class_names),
    }
    origin = Origin("tiny", "linear discriminant", _SPEC, judged_on, facts, told)
    make_bundle(KerasNetwork(_network(training)), origin, unseen, training, target)


def _network(training: ImageSet) -> keras.Model:
    projection, bias = _discriminant(_cells(training.pixels), training.labels)
    images = keras.Input(_SPEC.shape, name="images")
    x = layers.Rescaling(-1 / 255, offset=1.0, name="ink")(images)
    x = layers.AveragePooling2D(_CELL, name="cells")(x)
    x = layers.Flatten()(x)
    embedding = layers.Dense(DIMENSION, name="embedding")
    unit = layers.UnitNormalization(dtype="float32", name="unit_length")(embedding(x))
    embedding.set_weights([projection.astype(np.float32), bias.astype(np.float32)])
    return keras.Model(images, unit, name="tiny")


def _cells(pixels: Pixels) -> Floats64:
    """Return the mean ink of each cell, 0 to 1, float64 `[n, cells]`."""
    count = _SIDE // _CELL
    ink = 1 - pixels[..., 0].astype(np.float64) / 255
    cells: Floats64 = ink.reshape(-1, count, _CELL, count, _CELL).mean(axis=(2, 4)).reshape(len(pixels), -1)
    return cells


def _discriminant(values: Floats64, labels: np.ndarray) -> tuple[Floats64, Floats64]:
    """Return the kernel `[cells, DIMENSION]` and bias that set classes apart, measured by the spread within them."""
    means = np.stack([values[labels == label].mean(axis=0) for label in range(labels.max() + 1)])
    within = np.cov((values - means[labels]).T, bias=True)
    spread, directions = np.linalg.eigh(within + 0.1 * np.trace(within) / len(within) * np.eye(len(within)))
    whitening = directions / np.sqrt(spread)
    _, _, apart = np.linalg.svd((means - values.mean(axis=0)) @ whitening, full_matrices=False)
    kernel = whitening @ apart[:DIMENSION].T
    return kernel, -values.mean(axis=0) @ kernel


if __name__ == "__main__":
    make_tiny(BUNDLES / "tiny")
