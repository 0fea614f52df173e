"""Turns image bytes into embeddings: decode, preprocess, bundle, engine.

The trainer and the server share this package, so an image is read the same way when a model is trained, measured and
served. It imports nothing else of the project.
"""

from exemplar_encoder.bundle import Bundle, BundleError
from exemplar_encoder.calibration import Calibration, CalibrationError
from exemplar_encoder.class_embedding import class_embedding
from exemplar_encoder.decision import Decision, DecisionRule, Verdict
from exemplar_encoder.decode import DecodedImage, ImageError, ImageLimits, ImageProblem, decode
from exemplar_encoder.encoder import Encoder, load_encoder
from exemplar_encoder.manifest import Figure, Manifest
from exemplar_encoder.preparation import Preparation, PreparedImage
from exemplar_encoder.preprocess import Fitted, Preprocessing, fitted, preprocess
from exemplar_encoder.region import EncodedImage, Region, RegionError

__all__ = [
    "Bundle",
    "BundleError",
    "Calibration",
    "CalibrationError",
    "Decision",
    "DecisionRule",
    "DecodedImage",
    "EncodedImage",
    "Encoder",
    "Figure",
    "Fitted",
    "ImageError",
    "ImageLimits",
    "ImageProblem",
    "Manifest",
    "Preparation",
    "PreparedImage",
    "Preprocessing",
    "Region",
    "RegionError",
    "Verdict",
    "class_embedding",
    "decode",
    "fitted",
    "load_encoder",
    "preprocess",
]
