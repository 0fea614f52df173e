"""`exemplar export`: a bundle from a network that needs no training here, calibrated on the user's own images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def export(
    images: Annotated[
        Path,
        typer.Argument(help="Folder or zip of images to calibrate on, .../GROUP/CLASS/IMAGE; two or more a class."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The bundle's folder.", show_default=False)],
    model: Annotated[
        Path | None, typer.Option(help="A Keras model (.keras) from images to vectors.", show_default=False)
    ] = None,
    pixels: Annotated[
        str,
        typer.Option(
            help="Range of the model's input, from black to white: 0-255, 0-1 or -1-1.", show_default="0-255"
        ),
    ] = "",
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
            help="The backbone's weights: imagenet (Keras downloads it) or a .weights.h5 file.",
            show_default="imagenet",
        ),
    ] = "",
    size: Annotated[
        str,
        typer.Option(help="The backbone's input, in pixels: a side, or WIDTHxHEIGHT.", show_default="224"),
    ] = "",
    framing: Annotated[
        str,
        typer.Option(help="Part of the image that the network sees: whole (the image) or ink (the drawing on it)."),
    ] = "whole",
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
    from exemplar_trainer.cli.backend import load_backend

    load_backend()
    from exemplar_encoder import BundleError
    from exemplar_encoder.preprocess import Framing
    from exemplar_trainer.bundles.external_model import PIXELS, ModelError, export_external, open_backbone, open_model
    from exemplar_trainer.cli.console import failures
    from exemplar_trainer.cli.run_screen import RunScreen, outcome
    from exemplar_trainer.data.image_set import DatasetError
    from exemplar_trainer.networks import BACKBONES
    from exemplar_trainer.networks.backbone import PUBLISHED, WeightsError
    from exemplar_trainer.recipes.options import parse_size

    if (model is None) == (not backbone):
        raise typer.BadParameter("name either a --model or a --backbone")
    if backbone and backbone not in BACKBONES:
        raise typer.BadParameter(f"there is no backbone {backbone!r}; there are {', '.join(BACKBONES)}")
    if model is not None and (weights or size):
        raise typer.BadParameter("--weights and --size are a backbone's; a model has its own")
    if backbone and pixels:
        raise typer.BadParameter("--pixels is a model's; a backbone scales pixels itself")
    if pixels and pixels not in PIXELS:
        raise typer.BadParameter(f"--pixels is one of {', '.join(PIXELS)}, not {pixels!r}")
    if framing not in ("whole", "ink"):
        raise typer.BadParameter(f"there is no framing {framing!r}; there are whole and ink")
    title = name or (model.stem if model else backbone)
    shown: Framing = "ink" if framing == "ink" else "whole"
    kinds = (DatasetError, ModelError, WeightsError, BundleError, ValueError, OSError)
    with failures(*kinds), RunScreen(quiet=as_json) as screen:
        if model is not None:
            made, network = model.name, open_model(model, pixels or "0-255")
        else:
            begun = weights or PUBLISHED
            made, network = f"{backbone}, {begun}", open_backbone(backbone, begun, parse_size(size or "224"))
        bundle = export_external(
            network, made, images.absolute(), output, title, shown, max_unreadable, screen.reading()
        )
    screen.finish(bundle)
    if as_json:
        typer.echo(json.dumps(outcome(bundle), indent=1))
