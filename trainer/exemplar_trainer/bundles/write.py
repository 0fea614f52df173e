"""A measured network to a bundle: the files of its engines, golden samples, calibration, report.

The folder is assembled beside its destination, sealed, loaded and replayed on each of its engines, and only then
moved into place: a bundle that exists is a bundle that works.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np

from exemplar_encoder import (
    Bundle,
    BundleError,
    Calibration,
    EncodedImage,
    ImageLimits,
    Manifest,
    Preparation,
    load_encoder,
)
from exemplar_encoder import bundle as layout
from exemplar_encoder.bundle import seal
from exemplar_encoder.encoder import EngineName
from exemplar_trainer.bundles.golden import draw_golden_images
from exemplar_trainer.bundles.network import Network

_ENGINES: tuple[EngineName, ...] = ("litert", "tensorflow", "onnx")


def export_bundle(
    network: Network, manifest: Manifest, calibration: Calibration, report: str, target: Path
) -> Bundle:
    """Write a bundle to a folder that does not exist yet (or is a bundle, which is replaced).

    Args:
        network: the base network.
        manifest: all of it but what sealing adds.
        calibration: to ship with it.
        report: one HTML page.
        target: the folder.

    Raises:
        BundleError: the folder exists and is no bundle, or the finished bundle does not reproduce its embeddings.
    """
    refuse_other_folder(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".bundle-") as scratch:
        folder = Path(scratch) / "bundle"
        folder.mkdir()
        _write(network, manifest, calibration, report, folder)
        made_for = Bundle.load(folder).engines
        for engine in _ENGINES:
            if engine in made_for:
                load_encoder(folder, engine)
        if target.exists():
            shutil.rmtree(target)
        folder.rename(target)
    return Bundle.load(target)


def refuse_other_folder(target: Path) -> None:
    """Raise BundleError where a bundle must not be written: over what is none."""
    if target.exists() and not (target / layout.MANIFEST).is_file():
        raise BundleError(f"{target} exists and is no bundle; name another folder")


def _write(network: Network, manifest: Manifest, calibration: Calibration, report: str, folder: Path) -> None:
    spec = manifest.preprocessing
    (folder / layout.CALIBRATION).write_text(calibration.to_json(), encoding="utf-8")
    (folder / layout.REPORT).write_text(report, encoding="utf-8")
    images = draw_golden_images()
    (folder / "golden").mkdir()
    for index, image in enumerate(images):
        (folder / f"golden/{index:02d}.png").write_bytes(image)
    prepare = Preparation(spec, ImageLimits())
    pixels = np.stack([prepare(EncodedImage(image)).pixels for image in images])
    np.save(folder / layout.GOLDEN_EMBEDDINGS, network.write(folder, pixels))
    seal(folder, manifest)
