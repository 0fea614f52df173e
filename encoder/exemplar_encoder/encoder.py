"""A loaded bundle at work: image bytes in, embeddings out.

`load_encoder` hands out an encoder only after the bundle's files were verified and its golden samples, replayed from
encoded image to embedding, came out as the trainer recorded them.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal

import numpy as np

from exemplar_encoder.arrays import Floats, Pixels
from exemplar_encoder.bundle import GOLDEN_EMBEDDINGS, NETWORKS, SAVED_MODEL, Bundle, BundleError, golden_image
from exemplar_encoder.decode import ImageError, ImageLimits
from exemplar_encoder.engines import Engine, run_padded
from exemplar_encoder.preparation import Preparation, PreparedImage
from exemplar_encoder.processors import processors
from exemplar_encoder.region import EncodedImage

EngineName = Literal["auto", "litert", "tensorflow", "onnx"]

# What `auto` takes where there is no GPU for TensorFlow, the leanest first.
_PREFERRED: tuple[EngineName, ...] = ("litert", "onnx", "tensorflow")
_EXTRAS = {"litert": "encoder", "tensorflow": "train", "onnx": "onnx"}

# Engines sum in different orders; beyond this an embedding is not the same embedding.
GOLDEN_TOLERANCE = 1e-4


class Encoder:
    """Turns images into embeddings of one bundle. Get one from `load_encoder`."""

    def __init__(self, bundle: Bundle, engine: Engine, limits: ImageLimits) -> None:
        self.bundle = bundle
        self.limits = limits
        self.preparation = Preparation(bundle.manifest.preprocessing, limits)
        self._engine = engine

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        return self.bundle.manifest.dimension

    @property
    def engine_name(self) -> str:
        """`litert`, `tensorflow` or `onnx`."""
        return self._engine.name

    def prepare(self, image: EncodedImage) -> PreparedImage:
        """Do as `preparation` does."""
        return self.preparation(image)

    def embed(self, batch: Pixels) -> Floats:
        """Embed uint8 `[n, height, width, channels]` as float32 `[n, dimension]`, any n. One thread at a time."""
        return run_padded(self._engine, batch, self.dimension)


def load_encoder(
    path: Path | str,
    engine: EngineName = "auto",
    threads: int | None = None,
    limits: ImageLimits | None = None,
) -> Encoder:
    """Load a bundle, verify it and start an engine on it.

    Args:
        path: the bundle's folder.
        engine: what runs its network. `auto` takes TensorFlow where it is installed, sees a GPU and the bundle is
            made for it; else the first of LiteRT, ONNX Runtime and TensorFlow that the bundle is made for.
        threads: CPU threads for one batch; as many as there are CPUs when absent.
        limits: which images to refuse.

    Raises:
        BundleError: the bundle is incomplete, altered, unknown or not made for that engine, the engine is not
            installed, the network cannot be run, or the golden samples come out differently.
    """
    bundle = Bundle.load(path)
    encoder = Encoder(bundle, _start(bundle, engine, threads or processors()), limits or ImageLimits())
    _replay_golden_samples(encoder)
    return encoder


def _start(bundle: Bundle, name: EngineName, threads: int) -> Engine:
    name = _chosen(bundle, name)
    file = bundle.path / (SAVED_MODEL if name == "tensorflow" else NETWORKS[name])
    try:
        # Each is imported where it is used: no bundle needs them all, and TensorFlow takes seconds.
        if name == "tensorflow":
            from exemplar_encoder.engines.tensorflow import TensorFlowEngine

            return TensorFlowEngine(file, bundle.manifest.preprocessing.shape)
        if name == "onnx":
            from exemplar_encoder.engines.onnx import OnnxEngine

            return OnnxEngine(file, threads)
        from exemplar_encoder.engines.litert import LiteRTEngine

        return LiteRTEngine(file, threads)
    except ModuleNotFoundError as error:
        missing = f"engine {name} needs {error.name}, which is not installed: pip install 'exemplar[{_EXTRAS[name]}]'"
        raise BundleError(f"{file} cannot be run: {missing}") from error
    except Exception as error:  # what a network that cannot be run raises is up to the engine
        raise BundleError(f"{file} cannot be run: {error}") from error


def _chosen(bundle: Bundle, name: EngineName) -> EngineName:
    if name == "auto":
        if "tensorflow" in bundle.engines and _tensorflow_has_a_gpu():
            return "tensorflow"
        return next(each for each in _PREFERRED if each in bundle.engines)
    if name not in bundle.engines:
        raise BundleError(
            f"{bundle.path} is not made for engine {name}: {NETWORKS[name]} is missing; "
            f"it is made for {' and '.join(bundle.engines)}"
        )
    return name


def _tensorflow_has_a_gpu() -> bool:
    # Importing TensorFlow costs seconds and hundreds of megabytes, so it is asked only where a GPU device exists.
    if not (Path("/dev/nvidia0").exists() or Path("/dev/kfd").exists()):
        return False
    if importlib.util.find_spec("tensorflow") is None:
        return False
    from exemplar_encoder.engines.tensorflow import sees_a_gpu

    return sees_a_gpu()


def _replay_golden_samples(encoder: Encoder) -> None:
    bundle = encoder.bundle
    images, expected = bundle.golden()
    pixels = np.stack([_golden_pixels(bundle, index, image) for index, image in enumerate(images)])
    try:
        actual = encoder.embed(pixels)
    except Exception as error:  # as above
        raise BundleError(f"{bundle.path} cannot be run on engine {encoder.engine_name}: {error}") from error
    difference = float(np.abs(actual - expected).max()) if actual.shape == expected.shape else np.inf
    if not difference <= GOLDEN_TOLERANCE:  # also refuses NaN
        raise BundleError(
            f"{bundle.path / GOLDEN_EMBEDDINGS} is not what engine {encoder.engine_name} computes: "
            f"the golden samples differ by {difference:.1e}, more than {GOLDEN_TOLERANCE:.0e}"
        )


def _golden_pixels(bundle: Bundle, index: int, content: bytes) -> Pixels:
    """Prepare as `Encoder.prepare` does, but the limits set for callers' images do not hold for the bundle's own."""
    try:
        return Preparation(bundle.manifest.preprocessing, ImageLimits())(EncodedImage(content)).pixels
    except ImageError as error:
        raise BundleError(f"{bundle.path / golden_image(index)} cannot be read: {error}") from error
