"""The options of `exemplar export` that name a network from elsewhere, checked by themselves, and then opened.

Checking loads nothing. Opening loads Keras for Keras's networks alone, so that ONNX models need none of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from exemplar.commands.output import print_error
from exemplar_trainer.bundles.scaling import PIXELS, Scaling
from exemplar_trainer.cli.backend import load_backend
from exemplar_trainer.cli.console import fail, failures
from exemplar_trainer.networks.pretrained import BACKBONES, PUBLISHED, WeightsError
from exemplar_trainer.recipes.size import parse_size

if TYPE_CHECKING:
    from exemplar_encoder import Preprocessing
    from exemplar_trainer.bundles.network import Network

_BACKBONE, _KERAS, _ONNX, _FOLDER = "a --backbone", "a .keras file", "an .onnx file", "a model's folder"

# The options that do not go with every kind of network.
_GOES_WITH = {
    "weights": (_BACKBONE,),
    "size": (_BACKBONE, _ONNX),
    "pixels": (_KERAS, _ONNX),
    "mean": (_ONNX,),
    "std": (_ONNX,),
    "output": (_ONNX, _FOLDER),
    "fit": (_BACKBONE, _KERAS, _ONNX),
    "resample": (_BACKBONE, _KERAS, _ONNX),
    "framing": (_BACKBONE, _KERAS, _ONNX),
}

_PYTORCH = (".pt", ".pth", ".bin", ".safetensors", ".ckpt")


@dataclass(frozen=True)
class ForeignModel:
    """The options as they were given; "" or None where one was not."""

    model: Path | None = None
    backbone: str = ""
    weights: str = ""
    size: str = ""
    output: str = ""
    pixels: str = ""
    mean: str = ""
    std: str = ""
    fit: Literal["letterbox", "crop", "squash"] | None = None
    resample: Literal["box", "bilinear", "bicubic", "lanczos", "nearest"] | None = None
    framing: Literal["whole", "ink"] | None = None

    @property
    def title(self) -> str:
        """A name for the bundle."""
        if self.model is None:
            return self.backbone
        path = self.model.absolute()
        return path.name if self._kind == _FOLDER else path.stem

    def check(self) -> None:
        """Refuse what names no network, or two, and options that do not go together.

        Raises:
            BadParameter: with what would do.
            Exit: there is no such model, or it is of a kind that cannot be served; which was said.
        """
        if (self.model is None) == (not self.backbone):
            raise typer.BadParameter("name either a --model or a --backbone")
        if self.backbone and self.backbone not in BACKBONES:
            raise typer.BadParameter(f"there is no backbone {self.backbone!r}; there are {', '.join(BACKBONES)}")
        for option, kinds in _GOES_WITH.items():
            if getattr(self, option) and self._kind not in kinds:
                raise typer.BadParameter(f"--{option} goes with {' or '.join(kinds)}, not with {self._kind}")
        if self.framing == "ink" and self.fit not in (None, "letterbox"):
            raise typer.BadParameter(f"--framing ink goes with --fit letterbox, not with {self.fit}")
        if self._kind == _ONNX and self._says_how_pictures_go_in and not (self.pixels or self.mean):
            raise typer.BadParameter(
                "say what numbers the model takes pixels as: --pixels 0-255, 0-1 or -1-1, or --mean and --std"
            )
        self._scaling()
        self._width_and_height()
        if self.model is not None:
            _refuse_other_files(self.model)

    def open(self, say: Callable[[str], None]) -> tuple[Network, Preprocessing, str]:
        """Open the network.

        Args:
            say: told what was decided that nobody asked for.

        Returns:
            The network, its input, and its origin for people.

        Raises:
            Exit: Keras is not installed, a backbone's weights cannot be had, or a folder cannot be read as a model;
                which was said.
            ModelError: see `open_file`, `open_source` and `open_model`.
        """
        if self.model is None or self._kind == _KERAS:
            return self._open_with_keras()
        from exemplar_trainer.bundles.model_folder import ModelFolderError, open_model_folder
        from exemplar_trainer.bundles.onnx_model import open_file, open_source

        if self._says_how_pictures_go_in:
            network, spec = open_file(
                self.model,
                self._scaling(),
                self._width_and_height(),
                self.output,
                self.fit or "letterbox",
                self.resample or "bilinear",
                self.framing or "whole",
            )
            return network, spec, self.model.name
        try:
            source = open_model_folder(self.model)
        except ModelFolderError as error:
            hint = "; or say it with --pixels, or with --mean and --std" if self._kind == _ONNX else ""
            fail(f"{error}{hint}")
        for note in source.notes:
            say(note)
        return open_source(source, self.output), source.preprocessing, source.made

    @property
    def _kind(self) -> str:
        if self.model is None:
            return _BACKBONE
        return {".onnx": _ONNX, ".keras": _KERAS}.get(self.model.suffix, _FOLDER)

    @property
    def _says_how_pictures_go_in(self) -> bool:
        """Whether the options describe an .onnx file's input; else its folder must."""
        given = (self.size, self.pixels, self.mean, self.std, self.fit, self.resample, self.framing)
        return self._kind == _ONNX and any(given)

    def _scaling(self) -> Scaling:
        if not self.mean and not self.std:
            if self.pixels and self.pixels not in PIXELS:
                raise typer.BadParameter(f"--pixels is one of {', '.join(PIXELS)}, not {self.pixels!r}")
            return PIXELS[self.pixels or "0-255"]
        if self.pixels or not (self.mean and self.std):
            raise typer.BadParameter("give --mean and --std together, or --pixels instead of both")
        mean, std = _numbers("--mean", self.mean), _numbers("--std", self.std)
        if 0 in std:
            raise typer.BadParameter(f"--std divides, so none of it can be 0, as in {self.std}")
        return Scaling(1 / 255, mean, std)

    def _width_and_height(self) -> tuple[int, int] | None:
        try:
            return parse_size(self.size) if self.size else None
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error

    def _open_with_keras(self) -> tuple[Network, Preprocessing, str]:
        try:
            load_backend()
        except ModuleNotFoundError as error:
            print_error(f"{self._kind} needs {error.name}, which is not installed: pip install 'exemplar[train]'")
            raise typer.Exit(2) from error
        from exemplar_encoder import Preprocessing
        from exemplar_trainer.bundles.keras_model import open_backbone, open_model
        from exemplar_trainer.bundles.keras_network import KerasNetwork

        if self.model is not None:
            made, base = self.model.name, open_model(self.model, self._scaling())
        else:
            begun = "" if self.weights == "none" else self.weights or PUBLISHED
            made = f"{self.backbone}, {begun or 'random weights'}"
            with failures(WeightsError):
                base = open_backbone(self.backbone, begun, self._width_and_height() or (224, 224))
        height, width, channels = base.input_shape[1:]
        resample, framing, fit = self.resample or "bilinear", self.framing or "whole", self.fit or "letterbox"
        spec = Preprocessing(width, height, channels, resample=resample, framing=framing, fit=fit)
        return KerasNetwork(base), spec, made


def _refuse_other_files(model: Path) -> None:
    if not model.exists():
        fail(f"there is no {model}; name a model's file, or its folder")
    if model.is_dir() or model.suffix in (".onnx", ".keras"):
        return
    if model.suffix in _PYTORCH:
        fail(
            f"{model} holds weights of PyTorch, which alone are no network; make ONNX of them where they are "
            "from, with `optimum-cli export onnx --model FOLDER --task feature-extraction FOLDER/onnx`, or in "
            'Python with torch.onnx.export(network.eval(), torch.zeros(1, 3, HEIGHT, WIDTH), "model.onnx")'
        )
    fail(f"{model} is no model that can be served; name an .onnx or a .keras file, or a model's folder")


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(number) for number in text.split(","))
    except ValueError:
        found = ()
    if len(found) not in (1, 3) or not all(map(math.isfinite, found)):
        raise typer.BadParameter(f"{option} takes one number, or three such as 0.485,0.456,0.406, not {text!r}")
    return found
