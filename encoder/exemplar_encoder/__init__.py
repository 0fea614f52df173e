"""Turns image bytes into embeddings: decode, preprocess, bundle, engine.

The trainer and the server share this package, so an image is read the same way when a model is trained, measured and
served. It imports nothing else of the project.
"""

from exemplar_encoder.bundle import Bundle, BundleError, Figure, Manifest
from exemplar_encoder.calibration import Calibration, CalibrationError
from exemplar_encoder.decode import DecodedImage, ImageError, ImageLimits, ImageProblem, decode
from exemplar_encoder.encoder import Encoder, PreparedImage, load_encoder
from exemplar_encoder.preprocess import Preprocessing, preprocess, preprocess_with_margin

__all__ = [
    "Bundle",
    "BundleError",
    "Calibration",
    "CalibrationError",
    "DecodedImage",
    "Encoder",
    "Figure",
    "ImageError",
    "ImageLimits",
    "ImageProblem",
    "Manifest",
    "PreparedImage",
    "Preprocessing",
    "decode",
    "load_encoder",
    "preprocess",
    "preprocess_with_margin",
]
