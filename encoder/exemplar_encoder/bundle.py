"""The trainer's product, as a folder whose name is its content.

A bundle holds everything that serving needs: the network for one engine or more, preprocessing, calibration, golden
samples and the report. `manifest.json` lists every other file with its SHA-256; the bundle's id is the SHA-256 of
that manifest, and `bundle.sha256` (in the form `sha256sum -c` reads) holds the id. Loading verifies every file and
refuses a bundle that is incomplete, altered or of a format this code does not know, naming the file.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

import numpy as np

from exemplar_encoder.arrays import Floats
from exemplar_encoder.calibration import Calibration, CalibrationError
from exemplar_encoder.manifest import Figure, Manifest

GOLDEN_SAMPLES = 16

# The length of an embedding of unit length may differ by so much from 1, as in half precision it does.
LENGTH_TOLERANCE = 1e-3

MANIFEST = "manifest.json"
CHECKSUM = "bundle.sha256"
LITERT = "model.tflite"
SAVED_MODEL = "saved_model"
ONNX = "model.onnx"
WEIGHTS = "base_network.keras"
CALIBRATION = "calibration.json"
GOLDEN_EMBEDDINGS = "golden/embeddings.npy"
REPORT = "report.html"


def golden_image(index: int) -> str:
    """Return the file of a golden sample's image, counted from 0."""
    return f"golden/{index:02d}.png"


NETWORKS = {"litert": LITERT, "tensorflow": f"{SAVED_MODEL}/saved_model.pb", "onnx": ONNX}
"""The file that each engine needs; a bundle holds one of them or more."""

REQUIRED = (
    CALIBRATION,
    GOLDEN_EMBEDDINGS,
    *(golden_image(index) for index in range(GOLDEN_SAMPLES)),
    REPORT,
)

_ANY_NETWORK = " or ".join(NETWORKS.values())


class BundleError(Exception):
    """A bundle that must not be served; the message names the file and what is wrong with it."""


@dataclass(frozen=True)
class Bundle:
    """A verified bundle."""

    id: str
    path: Path
    manifest: Manifest
    calibration: Calibration

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Figures measured when it was made, on the classes that its calibration was fitted on."""
        return self.manifest.figures

    def golden(self) -> tuple[list[bytes], Floats]:
        """Return the golden samples: encoded images, and their embeddings float32 `[16, dimension]`."""
        images = [_read(self.path, golden_image(index)) for index in range(GOLDEN_SAMPLES)]
        return images, _read_array(self.path, GOLDEN_EMBEDDINGS, self.manifest.dimension)

    @property
    def has_unit_length(self) -> bool:
        """Whether embeddings are of length 1 rather than of any: the golden samples tell."""
        lengths = np.linalg.norm(self.golden()[1], axis=1)
        return bool((np.abs(lengths - 1) <= LENGTH_TOLERANCE).all())

    @property
    def engines(self) -> tuple[str, ...]:
        """Names of the engines that it holds the network for."""
        return tuple(engine for engine, file in NETWORKS.items() if file in self.manifest.files)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Verify a bundle and read it.

        Raises:
            BundleError: a file is missing, altered, unlisted or unreadable; the message names it.
        """
        path = Path(path)
        if not path.is_dir():
            raise BundleError(f"{path} is not a bundle: there is no such folder")
        content = _read(path, MANIFEST)
        identity = hashlib.sha256(content).hexdigest()
        recorded = _read(path, CHECKSUM).decode("ascii", "replace").split()
        if not recorded or recorded[0] != identity:
            raise BundleError(f"{path / MANIFEST} was altered: it does not match {CHECKSUM}")
        try:
            manifest = Manifest.from_json(content)
        except ValueError as error:
            raise BundleError(f"{path / MANIFEST} cannot be used: {error}") from error
        _verify_files(path, manifest)
        try:
            calibration = Calibration.read(path / CALIBRATION)
        except CalibrationError as error:
            raise BundleError(f"{path / CALIBRATION} cannot be used: {error}") from error
        return cls(identity, path, manifest, calibration)


def seal(path: Path, manifest: Manifest) -> str:
    """Hash a finished folder, write its manifest and checksum, and return the bundle's id.

    Raises:
        BundleError: a file that every bundle needs is missing.
    """
    for name in REQUIRED:
        if not (path / name).is_file():
            raise BundleError(f"{path / name} is missing: the bundle is incomplete")
    if not any((path / name).is_file() for name in NETWORKS.values()):
        raise BundleError(f"{path} holds no network: {_ANY_NETWORK} is missing")
    files = {name: _hash(path / name) for name in _contents(path)}
    text = dataclasses.replace(manifest, files=files).to_json()
    (path / MANIFEST).write_text(text, encoding="utf-8")
    identity = hashlib.sha256(text.encode("utf-8")).hexdigest()
    (path / CHECKSUM).write_text(f"{identity}  {MANIFEST}\n", encoding="ascii")
    return identity


def _verify_files(path: Path, manifest: Manifest) -> None:
    for name in REQUIRED:
        if name not in manifest.files:
            raise BundleError(f"{path / MANIFEST} does not list {name}: the bundle is incomplete")
    if not any(name in manifest.files for name in NETWORKS.values()):
        raise BundleError(f"{path / MANIFEST} lists no network, {_ANY_NETWORK}: the bundle is incomplete")
    for name, expected in manifest.files.items():
        parts = PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts:
            raise BundleError(f"{path / MANIFEST} lists {name!r}, which lies outside the bundle")
        if not (path / name).is_file():
            raise BundleError(f"{path / name} is missing: the bundle is incomplete")
        if _hash(path / name) != expected:
            raise BundleError(f"{path / name} was altered: its SHA-256 is not the one in {MANIFEST}")
    unlisted = sorted(set(_contents(path)) - set(manifest.files))
    if unlisted:
        raise BundleError(f"{path / unlisted[0]} does not belong to the bundle: {MANIFEST} does not list it")


def _contents(path: Path) -> list[str]:
    names = (file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    return sorted(name for name in names if name not in (MANIFEST, CHECKSUM))


def _hash(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {error.strerror}") from error


def _read(path: Path, name: str) -> bytes:
    try:
        return (path / name).read_bytes()
    except FileNotFoundError as error:
        raise BundleError(f"{path / name} is missing: the bundle is incomplete") from error
    except OSError as error:
        raise BundleError(f"{path / name} cannot be read: {error.strerror}") from error


def _read_array(path: Path, name: str, dimension: int) -> Floats:
    try:
        array: Floats = np.load(path / name, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise BundleError(f"{path / name} cannot be read: {error}") from error
    if array.dtype != np.float32 or array.ndim != 2 or array.shape[1] != dimension:
        raise BundleError(f"{path / name} holds {array.dtype} {array.shape}, not float32 [n, {dimension}]")
    if not np.isfinite(array).all():
        raise BundleError(f"{path / name} holds values that are no numbers")
    return array
