"""`exemplar export`: a bundle from a network that needs no training here, calibrated on the user's own images."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Literal

import typer

from exemplar_trainer.cli.console import failures, notes
from exemplar_trainer.cli.foreign_model import ForeignModel

app = typer.Typer(add_completion=False)


@app.command()
def export(
    images: Annotated[
        Path,
        typer.Argument(help="Folder or zip of images to calibrate on, .../GROUP/CLASS/IMAGE; two or more a class."),
    ],
    bundle: Annotated[Path, typer.Option("--bundle", "-o", help="The bundle's folder.", show_default=False)],
    model: Annotated[
        Path | None,
        typer.Option(
            help="A model from images to vectors: an .onnx or .keras file, or a folder of Hugging Face, timm or "
            "open_clip with an .onnx file in it.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str,
        typer.Option(
            help="The output of an ONNX model to take, or any tensor within, by its name.",
            show_default="image_embeds, pooler_output, or the first that fits",
            metavar="NAME",
        ),
    ] = "",
    pixels: Annotated[
        str,
        typer.Option(
            help="Range of the input of a model's file, from black to white: 0-255, 0-1 or -1-1.",
            show_default="0-255 for a .keras file",
        ),
    ] = "",
    mean: Annotated[
        str,
        typer.Option(
            help="Instead of --pixels, of an .onnx file: what is subtracted from pixels of 0 to 1. One number, or "
            "one for each channel, such as 0.485,0.456,0.406.",
            metavar="NUMBERS",
        ),
    ] = "",
    std: Annotated[
        str,
        typer.Option(help="With --mean: what the difference is divided by, in as many numbers.", metavar="NUMBERS"),
    ] = "",
    size: Annotated[
        str,
        typer.Option(
            help="Input of an .onnx file or a backbone, in pixels: a side, or WIDTHxHEIGHT.",
            show_default="the file's; of a backbone 224",
        ),
    ] = "",
    fit: Annotated[
        Literal["letterbox", "crop", "squash"] | None,
        typer.Option(
            help="How an image fits into the input: letterbox (whole, with a margin), crop (it fills the input, its "
            "ends cut off) or squash (whole and distorted).",
            show_default="letterbox, or the folder's",
            metavar="FIT",
        ),
    ] = None,
    resample: Annotated[
        Literal["box", "bilinear", "bicubic", "lanczos", "nearest"] | None,
        typer.Option(
            help="The filter that images are resized with: box, bilinear, bicubic, lanczos or nearest.",
            show_default="bilinear, or the folder's",
            metavar="FILTER",
        ),
    ] = None,
    framing: Annotated[
        Literal["whole", "ink"] | None,
        typer.Option(
            help="Part of the image that the network sees: whole (the image) or ink (the drawing on it).",
            show_default="whole",
            metavar="PART",
        ),
    ] = None,
    backbone: Annotated[
        str,
        typer.Option(
            help="Instead of a model: a network of keras.applications, mobilenetv3-small, mobilenetv3-large or "
            "efficientnetv2-b0 to -b3."
        ),
    ] = "",
    weights: Annotated[
        str,
        typer.Option(
            help="The backbone's weights: imagenet (Keras downloads it), a .weights.h5 file, or none.",
            show_default="imagenet",
        ),
    ] = "",
    name: Annotated[str, typer.Option(help="The bundle's name for people.")] = "",
    max_unreadable: Annotated[
        int, typer.Option(min=0, help="Leave out at most this many images that cannot be read; one more is an error.")
    ] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Make a bundle of a network as it is, and measure and calibrate it on images of your own.

    None of these images is trained on, so all of them measure. The more classes, the better the calibration; twenty
    of four images each are a fair start.
    """
    foreign = ForeignModel(model, backbone, weights, size, output, pixels, mean, std, fit, resample, framing)
    foreign.check()
    # After that, since the libraries of networks take seconds to import.
    from exemplar_encoder import BundleError
    from exemplar_trainer.bundles.external_model import export_external
    from exemplar_trainer.bundles.network import ModelError
    from exemplar_trainer.cli.run_screen import RunScreen, outcome
    from exemplar_trainer.data.image_set import DatasetError

    # What Keras prints of its downloads belongs with the progress, not with the outcome.
    kinds = (DatasetError, ModelError, BundleError, ValueError, OSError)
    with failures(*kinds), redirect_stdout(sys.stderr):
        network, spec, made = foreign.open(notes(quiet=as_json).print)
        title = name or foreign.title
        with RunScreen(quiet=as_json) as screen:
            made_bundle = export_external(
                network,
                made,
                spec,
                images.absolute(),
                bundle,
                title,
                max_unreadable,
                screen.reading("Embedding them, measuring and calibrating, then exporting"),
            )
    screen.finish(made_bundle)
    if as_json:
        typer.echo(json.dumps(outcome(made_bundle), indent=1))
