"""A trained base network to a bundle: weights in three forms, golden samples, calibration, report.

The folder is assembled beside its destination, sealed, loaded and replayed on both engines, and only then moved into
place: a bundle that exists is a bundle that works.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from exemplar_encoder import Bundle, BundleError, Calibration, Manifest, decode, load_encoder, preprocess
from exemplar_encoder import bundle as layout
from exemplar_encoder.bundle import seal
from exemplar_trainer.bundles.golden import draw_golden_images
from exemplar_trainer.bundles.half_precision import round_to_half
from exemplar_trainer.bundles.litert import write_litert
from exemplar_trainer.bundles.saved_model import write_saved_model
from exemplar_trainer.networks.fold_normalization import fold_normalization


@dataclass(frozen=True)
class Ingredients:
    """The content of a bundle; `report` is one HTML page."""

    network: keras.Model
    manifest: Manifest
    calibration: Calibration
    report: str


def export_bundle(ingredients: Ingredients, target: Path) -> Bundle:
    """Write a bundle to a folder that does not exist yet (or is a bundle, which is replaced).

    Raises:
        BundleError: the folder exists and is no bundle, or the finished bundle does not reproduce its embeddings.
    """
    if target.exists() and not (target / layout.MANIFEST).is_file():
        raise BundleError(f"{target} exists and is no bundle; name another folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".bundle-") as scratch:
        folder = Path(scratch) / "bundle"
        folder.mkdir()
        _write(ingredients, folder)
        for engine in ("litert", "tensorflow"):
            load_encoder(folder, engine=engine)
        if target.exists():
            shutil.rmtree(target)
        folder.rename(target)
    return Bundle.load(target)


def _write(ingredients: Ingredients, folder: Path) -> None:
    spec = ingredients.manifest.preprocessing
    round_to_half(ingredients.network)
    _write_weights(ingredients.network, folder / layout.WEIGHTS)
    network = fold_normalization(ingredients.network)
    round_to_half(network)
    write_saved_model(network, folder / layout.SAVED_MODEL)
    (folder / layout.CALIBRATION).write_text(ingredients.calibration.to_json(), encoding="utf-8")
    (folder / layout.REPORT).write_text(ingredients.report, encoding="utf-8")
    images = draw_golden_images()
    (folder / "golden").mkdir()
    for index, image in enumerate(images):
        (folder / f"golden/{index:02d}.png").write_bytes(image)
    pixels = np.stack([preprocess(decode(image, background=spec.background).pixels, spec) for image in images])
    embeddings = keras.ops.convert_to_numpy(network(pixels.astype(np.float32), training=False))
    np.save(folder / layout.GOLDEN_EMBEDDINGS, embeddings.astype(np.float32))
    write_litert(folder / layout.SAVED_MODEL, folder / layout.LITERT, pixels, embeddings)
    seal(folder, ingredients.manifest)


def _write_weights(network: keras.Model, path: Path) -> None:
    """Write a `.keras` file, packed: of weights rounded to half precision a third of the bytes are zero."""
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        plain = Path(scratch) / path.name
        network.save(plain)
        with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name in source.namelist():
                packed.writestr(name, source.read(name))
