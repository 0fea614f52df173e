"""The folders that people download models in: which file is the network, and how it was given its pictures.

Known are the folders of Hugging Face's transformers, of timm and of open_clip. What a configuration says is followed
to the letter or refused, for a network sees less in pictures that are not like those it was trained with, and nothing
else would tell. Where the graph takes another size than the configuration says, the graph is right: it cannot take
any other, while the configuration is often that of another export of the same weights. The way to the size is then
kept in proportion, and a note says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnx
from google.protobuf.message import DecodeError

from exemplar_encoder import Preprocessing
from exemplar_trainer.bundles.folders import hugging_face, open_clip, timm
from exemplar_trainer.bundles.folders.pictures import Pictures, Triple
from exemplar_trainer.bundles.folders.settings import ModelFolderError, Settings
from exemplar_trainer.bundles.folders.weights import found_instead, is_state

__all__ = ["ModelFolderError", "ModelSource", "open_model_folder"]

# In this order: the half of CLIP or SigLIP that sees, before both halves in one; never one of reduced precision.
_USUAL = ("vision_model.onnx", "onnx/vision_model.onnx", "model.onnx", "onnx/model.onnx")

_PROCESSOR, _PREPROCESSOR = "processor_config.json", "preprocessor_config.json"
_OPEN_CLIP, _TIMM = "open_clip_config.json", "config.json"


@dataclass(frozen=True)
class ModelSource:
    """A network in a file, and how it takes pictures: RGB values of 0 to 255 as `(value * scale - mean) / std`.

    `mean` and `std` are of the channels in the order that the network takes them: red first, or blue where `bgr`. For
    a network of one channel they are three times the same. `kind` is the library whose folder it is, `made` what the
    model is, and `notes` are sentences on what was decided where graph and configuration differ.
    """

    file: Path
    preprocessing: Preprocessing
    scale: float
    mean: Triple
    std: Triple
    bgr: bool
    made: str
    kind: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Configuration:
    """The file that says how pictures are taken, and the library that wrote it."""

    library: str
    settings: Settings

    def pictures(self, taken: tuple[int, int] | None) -> Pictures:
        if self.library == "open_clip":
            return open_clip.read_pictures(self.settings, taken)
        if self.library == "timm":
            return timm.read_pictures(self.settings, taken)
        return hugging_face.read_pictures(self.settings)

    @property
    def model(self) -> str:
        """What the file calls the model; empty: nothing."""
        if self.library == "timm":
            return self.settings.text("architecture")
        return hugging_face.processor(self.settings) if self.library == "Hugging Face" else ""


def open_model_folder(path: Path) -> ModelSource:
    """Read a downloaded model.

    Args:
        path: its folder, or an `.onnx` file whose folder, or the one above a folder `onnx`, holds the configuration.

    Raises:
        ModelFolderError: there is no network or no configuration, or they are of a kind that cannot be served.
        OSError: a file cannot be read.
    """
    if path.is_file() and path.suffix != ".onnx":
        what = "weights alone" if is_state(path) else "no ONNX file"
        raise ModelFolderError(f"{path} is {what}; name its folder, or an .onnx file")
    if not path.exists():
        raise ModelFolderError(f"{path} does not exist; name a model's folder, or an .onnx file")
    folder = path.parent if path.is_file() else path
    configuration = _configuration(folder)
    if configuration is None and folder.name == "onnx":
        folder = folder.parent
        configuration = _configuration(folder)
    file = path if path.is_file() else _network(folder, configuration.library if configuration else None)
    if configuration is None:
        raise ModelFolderError(
            f"{folder} does not say how {file.name} takes its pictures: it holds none of {_PREPROCESSOR}, "
            f"{_PROCESSOR}, {_OPEN_CLIP} and timm's {_TIMM}; put the one that it was published with there"
        )
    return _source(file, folder, configuration)


def _source(file: Path, folder: Path, configuration: _Configuration) -> ModelSource:
    channels, taken = _input(file)
    settings = configuration.settings
    name = settings.file.name
    said = configuration.pictures(None)
    height, width = taken or (said.height, said.width)
    pictures = configuration.pictures(taken).at(height, width)
    if pictures is None:
        raise ModelFolderError(
            f"{file} takes pictures of {width} x {height} pixels, but by {settings.file} they are "
            f"{said.width} x {said.height}; export the network at this size, or correct {name}"
        )
    if channels == 1 and (len(set(pictures.mean)) > 1 or len(set(pictures.std)) > 1):
        raise ModelFolderError(
            f"{file} takes one channel, but the mean and deviation of {settings.file} are of three"
        )
    notes = []
    if (height, width) != (said.height, said.width):
        notes.append(
            f"{file.name} takes {width} x {height} pixels, so it gets these, where {name} says "
            f"{said.width} x {said.height}"
        )
    made = " ".join(
        filter(None, [configuration.library, configuration.model, f"({folder.resolve().name}/{file.name})"])
    )
    try:
        preprocessing = Preprocessing(
            pictures.width,
            pictures.height,
            channels,
            background=pictures.background,
            resample=pictures.resample,
            fit=pictures.fit,
            resize=pictures.resize,
            halving=pictures.halving,
        )
    except ValueError as error:
        raise ModelFolderError(f"{settings.file}: {error}") from error
    return ModelSource(
        file,
        preprocessing,
        pictures.scale,
        pictures.mean,
        pictures.std,
        pictures.bgr and channels == 3,
        made,
        configuration.library,
        tuple(notes),
    )


def _configuration(folder: Path) -> _Configuration | None:
    """Find the configuration of a folder; transformers, too, asks `processor_config.json` first."""
    if (folder / _PROCESSOR).is_file():
        inner = Settings.read(folder / _PROCESSOR).inner("image_processor")
        if inner is not None:
            return _Configuration("Hugging Face", inner)
    if (folder / _PREPROCESSOR).is_file():
        return _Configuration("Hugging Face", Settings.read(folder / _PREPROCESSOR))
    if (folder / _OPEN_CLIP).is_file():
        return _Configuration("open_clip", Settings.read(folder / _OPEN_CLIP))
    if (folder / _TIMM).is_file():
        settings = Settings.read(folder / _TIMM)
        if timm.is_timm(settings):
            return _Configuration("timm", settings)
    return None


def _network(folder: Path, library: str | None) -> Path:
    """Find the network's file in a folder."""
    for name in _USUAL:
        if (folder / name).is_file():
            return folder / name
    files = sorted([*folder.glob("*.onnx"), *folder.glob("onnx/*.onnx")])
    if len(files) == 1:
        return files[0]
    if files:
        names = ", ".join(str(file.relative_to(folder)) for file in files)
        raise ModelFolderError(f"{folder} holds {len(files)} networks: {names}; name one: --model {files[0]}")
    raise ModelFolderError(
        found_instead(folder, library) or f"{folder} holds no .onnx file, and no weights that one could be made of"
    )


def _input(file: Path) -> tuple[Literal[1, 3], tuple[int, int] | None]:
    """Return the channels of the pictures that a network takes, and their height and width; None: any."""
    try:
        graph = onnx.load(file, load_external_data=False).graph
    except DecodeError as error:
        raise ModelFolderError(f"{file} is damaged, it is no ONNX file; download it again") from error
    weights = {weight.name for weight in graph.initializer}
    shapes = {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in graph.input
        if value.name not in weights
    }
    pictures = [shape for shape in shapes.values() if len(shape) == 4]
    if len(pictures) != 1:
        raise ModelFolderError(
            f"{file} takes {', '.join(shapes) or 'nothing'}: {len(pictures)} inputs of four axes, and pictures are "
            "one; name the file of the network that sees"
        )
    _, second, third, last = pictures[0]
    if last in (1, 3) and second not in (1, 3):
        second, third, last = last, second, third
    if second not in (0, 1, 3):
        raise ModelFolderError(f"{file} takes pictures of {second} channels; 1 and 3 can be served")
    return (1 if second == 1 else 3), ((third, last) if third and last else None)
