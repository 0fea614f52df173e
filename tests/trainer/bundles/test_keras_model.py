"""A model from elsewhere is given black and white as the numbers that it knows them by."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from exemplar_trainer.bundles.keras_model import open_model
from exemplar_trainer.bundles.network import ModelError
from exemplar_trainer.bundles.scaling import PIXELS


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model whose vector is the brightest and the darkest pixel it was given, and a 3."""
    images = keras.Input((4, 6, 1))
    extremes = [layers.GlobalMaxPooling2D()(images), -layers.GlobalMaxPooling2D()(-images)]
    three = layers.Rescaling(0.0, offset=3.0)(extremes[0])
    path = tmp_path_factory.mktemp("model") / "extremes.keras"
    keras.Model(images, layers.Concatenate()([*extremes, three])).save(path)
    return path


@pytest.mark.parametrize(
    ("pixels", "black", "white"), [("0-255", 0.0, 255.0), ("0-1", 0.0, 1.0), ("-1-1", -1.0, 1.0)]
)
def test_black_and_white_become_what_the_model_takes(model: Path, pixels: str, black: float, white: float) -> None:
    image = np.zeros((1, 4, 6, 1), np.float32)
    image[0, 1, 2] = 255
    vector = np.array([white, black, 3.0])
    found = np.asarray(open_model(model, PIXELS[pixels])(image))[0]
    np.testing.assert_allclose(found, vector / np.linalg.norm(vector), atol=1e-5)


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.h5 is no \.keras file; save the model with"):
        open_model(tmp_path / "model.h5", PIXELS["0-1"])
