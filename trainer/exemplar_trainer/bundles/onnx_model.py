"""Opens ONNX models from elsewhere as networks, with neither TensorFlow nor Keras.

A downloaded folder says how pictures go in; for a lone file the user does.
"""

from __future__ import annotations

from pathlib import Path

from exemplar_encoder import Preprocessing
from exemplar_encoder.preprocess import Fit, Framing, Resample
from exemplar_trainer.bundles.model_folder import ModelSource
from exemplar_trainer.bundles.network import ModelError
from exemplar_trainer.bundles.onnx_file import PictureModel, read_onnx
from exemplar_trainer.bundles.onnx_graph import wrap
from exemplar_trainer.bundles.onnx_network import OnnxNetwork
from exemplar_trainer.bundles.scaling import Scaling


def open_source(source: ModelSource, output: str = "") -> OnnxNetwork:
    """Open the network of a folder.

    Args:
        source: from `open_model_folder`.
        output: see `read_onnx`.

    Raises:
        ModelError: as `read_onnx` and `wrap`.
    """
    scaling = Scaling(source.scale, source.mean, source.std, source.bgr)
    return _network(read_onnx(source.file, output), scaling, source.preprocessing)


def open_file(
    path: Path,
    scaling: Scaling,
    size: tuple[int, int] | None = None,
    output: str = "",
    fit: Fit = "letterbox",
    resample: Resample = "bilinear",
    framing: Framing = "whole",
) -> tuple[OnnxNetwork, Preprocessing]:
    """Open a file that nothing is said of beside it.

    Args:
        path: an `.onnx` file.
        scaling: how it takes pixels.
        size: `(width, height)` of its input in pixels; None: as the file says.
        output: see `read_onnx`.
        fit: see `Preprocessing`, also for the next two.
        resample: likewise.
        framing: likewise.

    Raises:
        ModelError: as `read_onnx` and `wrap`; or the file leaves the size open, and so does `size`.
        ValueError: as `Preprocessing`.
    """
    model = read_onnx(path, output)
    width, height = size or (model.width, model.height)
    if width is None or height is None:
        raise ModelError(f"{path} takes pictures of any size; say the one that it was trained for with --size")
    if model.channels == 1 and max(len(scaling.mean), len(scaling.std)) > 1:
        raise ModelError(f"{path} takes pictures of one channel; give --mean and --std one number each")
    spec = Preprocessing(width, height, model.channels, resample=resample, framing=framing, fit=fit)
    return _network(model, scaling, spec), spec


def _network(model: PictureModel, scaling: Scaling, spec: Preprocessing) -> OnnxNetwork:
    return OnnxNetwork.start(wrap(model, scaling, spec.height, spec.width), str(model.path))
