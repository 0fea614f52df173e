"""`make demo`: the whole path on real input, with the real processes, on screen and as a page.

Train (if asked) -> serve -> bulk-index -> classify -> kill the server -> restart it and ask again.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from demo.characters import Character, read_characters
from demo.measure import Measured, ask, measure, queries_of
from demo.omniglot import DataError, find_omniglot
from demo.page import render_page
from demo.report import console, heading, print_figures
from demo.server_process import EXEMPLAR, ServerError, ServerProcess
from demo.strokes import draw_alphabets
from exemplar import Client, ExemplarError
from exemplar_encoder import Bundle, BundleError

GALLERY = "characters"
STEPS = 400

_ASKED_AGAIN = 200


def demonstrate(
    bundle: Annotated[Path, typer.Option(help="The bundle to serve.")] = Path("models/omniglot-held-out"),
    output: Annotated[Path, typer.Option(help="Where the page and everything else goes.")] = Path("demo-output"),
    train: Annotated[bool, typer.Option("--train", help="Train a small model first and serve that.")] = False,
) -> None:
    """Show the whole path on real input."""
    started = time.monotonic()
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    try:
        source, drawn = _find_images(output)
        if train:
            bundle = _train(source, bundle, output)
        characters, origin = _new_characters(bundle, source, drawn, output)
        measured = _show(bundle, characters, origin, output)
        (output / "index.html").write_text(render_page(characters, origin, measured), encoding="utf-8")
    except (DataError, ServerError, BundleError, ExemplarError, subprocess.CalledProcessError) as error:
        console.print(f"[red]The demonstration stopped:[/] {error}")
        raise typer.Exit(1) from error
    console.print(f"\nAll of it took {time.monotonic() - started:.0f} s. Open [bold]{output / 'index.html'}[/].")


def _find_images(output: Path) -> tuple[Path, bool]:
    """Return the data set, and whether it had to be drawn here because there is no network."""
    try:
        source = find_omniglot(os.environ)
    except DataError as error:
        if os.environ.get("EXEMPLAR_DATA"):
            raise
        console.print(f"[yellow]No data set here:[/] {error}.")
        console.print("[yellow]So these are characters that this program draws itself, with strokes.[/]")
        draw_alphabets(output / "drawn", alphabets=6, characters=24, drawers=5)
        return output / "drawn", True
    console.print(f"Images from {source}")
    return source, False


def _train(source: Path, shipped: Path, output: Path) -> Path:
    steps = Bundle.load(shipped).manifest.training.get("recipe", {}).get("steps")
    more = f"; {shipped} was trained for {steps:,}" if steps else ""
    heading(f"Training a small model for {STEPS} steps{more}")
    command = [EXEMPLAR, "train", str(source), "--run", str(output / "run"), "--steps", str(STEPS)]
    subprocess.run(command, check=True)
    return output / "run" / "bundle"


def _new_characters(bundle: Path, source: Path, drawn: bool, output: Path) -> tuple[list[Character], str]:
    """Return characters that the bundle's training did not see, and where they come from, in words."""
    if drawn:
        return read_characters(source, output / "images", []), "drawn by this program"
    held_out: Sequence[str] = Bundle.load(bundle).manifest.training.get("held_out", [])
    if not held_out:
        raise DataError(f"the training of {bundle} held out nothing, so no alphabet here is new to it")
    characters = read_characters(source, output / "images", held_out)
    if not characters:
        raise DataError(f"{source} has none of the alphabets that the model never saw: {', '.join(held_out)}")
    return characters, "of alphabets the model never saw"


def _show(bundle: Path, characters: Sequence[Character], origin: str, output: Path) -> Measured:
    log = output / "server.log"
    heading("Serving")
    began = time.monotonic()
    with ServerProcess(bundle, output / "data", log=log) as server:
        console.print(f"{bundle} on {server.address}, ready after {time.monotonic() - began:.1f} s")
        alphabets = len({character.alphabet for character in characters})
        heading(f"Indexing one exemplar for each of {len(characters)} characters {origin} ({alphabets} alphabets)")
        command = [EXEMPLAR, "index", str(_write_manifest(characters, output)), "--gallery", GALLERY, "--create"]
        subprocess.run([*command, "--address", server.address, "--job", str(output / "index-job")], check=True)
        heading(f"Classifying their {len(queries_of(characters)):,} other images")
        with Client(server.address) as client:
            measured = measure(client, GALLERY, characters)
        server.kill()
    print_figures(measured)
    heading("Killing the server (SIGKILL) and starting it again")
    with ServerProcess(bundle, output / "data", log=log) as server, Client(server.address) as client:
        count = client.get_gallery(GALLERY).class_count
        sample = measured.everything[:: max(1, len(measured.everything) // _ASKED_AGAIN)]
        same = ask(client, GALLERY, [(answer.query, answer.truth) for answer in sample]) == sample
    console.print(f"{count} of {len(characters)} classes are there.")
    console.print(f"{len(sample)} answers are {'the same' if same else 'DIFFERENT'}.")
    if count != len(characters) or not same:
        raise ServerError("something was lost on the way")
    return measured


def _write_manifest(characters: Sequence[Character], output: Path) -> Path:
    path = output / "exemplars.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "image", "display_name", "alphabet"])
        for c in characters:
            writer.writerow([c.class_id, c.exemplar.resolve(), c.display_name, c.alphabet])
    return path


if __name__ == "__main__":
    typer.run(demonstrate)
