"""`make demo`: the whole path on real input, with the real processes, on screen and as a page.

Train (if asked) -> serve -> bulk-index -> classify -> kill the server -> restart it and ask again.
"""

from __future__ import annotations

import csv
import os
import random
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from demo.characters import Character, read_characters
from demo.measure import Answer, accepted, ask, half_enrolled, latency, queries_of, share, within_alphabet
from demo.omniglot import DataError, find_omniglot
from demo.page import render_page
from demo.server_process import EXEMPLAR, ServerError, ServerProcess
from demo.strokes import draw_alphabets
from exemplar import Client, ExemplarError, Verdict
from exemplar_encoder import Bundle, BundleError

GALLERY = "characters"

console = Console(highlight=False)


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
        source, drawn = _data(output)
        if train:
            bundle = _train(source, output)
        held_out: Sequence[str] = Bundle.load(bundle).manifest.training.get("held_out", [])
        if not held_out and not drawn:
            raise DataError(f"the training of {bundle} held out nothing, so no alphabet here is new to it")
        characters = read_characters(source, output / "images", [] if drawn else held_out)
        if not characters:
            raise DataError(f"{source} has none of the alphabets that the model never saw: {', '.join(held_out)}")
        _show(bundle, characters, output, "drawn by this program" if drawn else "of alphabets the model never saw")
    except (DataError, ServerError, BundleError, ExemplarError, subprocess.CalledProcessError) as error:
        console.print(f"[red]The demonstration stopped:[/] {error}")
        raise typer.Exit(1) from error
    console.print(f"\nAll of it took {time.monotonic() - started:.0f} s. Open [bold]{output / 'index.html'}[/].")


def _data(output: Path) -> tuple[Path, bool]:
    """The data set, and whether it had to be drawn here because there is no network."""
    try:
        source = find_omniglot(os.environ)
    except DataError as error:
        if os.environ.get("EXEMPLAR_DATA"):
            raise
        console.print(f"[yellow]No data set here:[/] {error}.")
        console.print("[yellow]So these are characters that this program draws itself, with strokes.[/]")
        draw_alphabets(output / "drawn", alphabets=6, characters=24, drawers=8)
        return output / "drawn", True
    console.print(f"Images from {source}")
    return source, False


def _train(source: Path, output: Path) -> Path:
    _heading("Training a small model (400 steps; the shipped one had 9,200)")
    subprocess.run([EXEMPLAR, "train", str(source), "--run", str(output / "run"), "--steps", "400"], check=True)
    return output / "run" / "bundle"


def _show(bundle: Path, characters: Sequence[Character], output: Path, what: str) -> None:
    alphabets = len({character.alphabet for character in characters})
    queries = queries_of(characters)
    _heading("Serving")
    began = time.monotonic()
    with ServerProcess(bundle, output / "data", log=output / "server.log") as server:
        console.print(f"{bundle} on {server.address}, ready after {time.monotonic() - began:.1f} s")
        _heading(f"Indexing one exemplar for each of {len(characters)} characters {what} ({alphabets} alphabets)")
        command = [EXEMPLAR, "index", str(_write_manifest(characters, output)), "--gallery", GALLERY, "--create"]
        subprocess.run([*command, "--address", server.address, "--job", str(output / "index-job")], check=True)
        _heading(f"Classifying {len(queries):,} images by other drawers")
        with Client(server.address) as client:
            began = time.monotonic()
            everything = ask(client, GALLERY, queries)
            rate = len(queries) / (time.monotonic() - began)
            by_alphabet = within_alphabet(client, characters)
            timing = latency(client, GALLERY, [query for query, _ in queries])
            half = half_enrolled(client, characters)
        server.kill()
    figures = _figures(everything, by_alphabet, half)
    figures["latency, one image a call (median)"] = f"{timing.median:.1f} ms"
    figures["throughput, in batches"] = f"{rate:,.0f} images/s"
    _print_figures(figures, by_alphabet)
    console.print(
        f"Single calls: median {timing.median:.1f} ms, 95 % within {timing.p95:.1f} ms ({timing.calls} calls)"
    )
    _heading("Killing the server (SIGKILL) and starting it again")
    with (
        ServerProcess(bundle, output / "data", log=output / "server.log") as server,
        Client(server.address) as client,
    ):
        count = client.get_gallery(GALLERY).class_count
        sample = everything[:: max(1, len(everything) // 200)]
        again = ask(client, GALLERY, [(answer.query, answer.truth) for answer in sample])
        same = [a.answer for a in again] == [a.answer for a in sample]
    console.print(f"{count} of {len(characters)} classes are there.")
    console.print(f"{len(sample)} answers are {'the same' if same else 'DIFFERENT'}.")
    if count != len(characters) or not same:
        raise ServerError("something was lost on the way")
    _write_page(output, figures, everything, half, characters, what)


def _figures(everything: list[Answer], by_alphabet: dict[str, list[Answer]], half: list[Answer]) -> dict[str, str]:
    known = [answer for answer in half if answer.truth is not None]
    strangers = [answer for answer in half if answer.truth is None]
    figures = {}
    if by_alphabet:
        answers = [answer for listed in by_alphabet.values() for answer in listed]
        figures["20-way within an alphabet, one example"] = f"{share(a.right for a in answers):.1%}"
    classes = len({answer.truth.class_id for answer in everything if answer.truth})
    figures[f"whole gallery, {classes} classes, one example"] = f"{share(a.right for a in everything):.1%}"
    rate = half[0].answer.false_accept_rate
    figures["strangers told apart as UNKNOWN"] = f"{1 - share(accepted(a) for a in strangers):.1%}"
    figures[f"enrolled ones accepted at {rate:.0%} false accepts"] = f"{share(accepted(a) for a in known):.1%}"
    return figures


def _print_figures(figures: dict[str, str], by_alphabet: dict[str, list[Answer]]) -> None:
    table = Table("measured", "", box=None, pad_edge=False, show_header=False)
    table.columns[1].justify = "right"
    for name, value in figures.items():
        table.add_row(name, value)
    for alphabet, answers in by_alphabet.items():
        table.add_row(f"  20-way, {alphabet.replace('_', ' ')}", f"{share(a.right for a in answers):.1%}")
    console.print(table)


def _write_manifest(characters: Sequence[Character], output: Path) -> Path:
    path = output / "exemplars.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "image", "display_name", "alphabet"])
        for c in characters:
            writer.writerow([c.class_id, c.exemplar.resolve(), c.display_name, c.alphabet])
    return path


def _write_page(
    output: Path,
    figures: dict[str, str],
    everything: list[Answer],
    half: list[Answer],
    characters: Sequence[Character],
    what: str,
) -> None:
    rng = random.Random(1)
    named = [a for a in everything if a.answer.verdict is Verdict.MATCH]
    doubtful = [a for a in everything if a.answer.verdict is Verdict.AMBIGUOUS]
    strangers = [a for a in half if a.truth is None]
    misses = [a for a in named if not a.right]
    sections = {
        "Named from one example": _some(rng, [a for a in named if a.right], 24),
        "Too close to call: the server says so": _some(rng, doubtful, 8),
        "Characters that are not enrolled": _some(rng, strangers, 12),
        "Named wrongly": _some(rng, misses, 12),
    }
    lead = f"{len(characters)} characters {what}, one exemplar each; the queries are by other drawers."
    exemplars = {character.class_id: character.exemplar for character in characters}
    page = render_page("Exemplar: named from one example", lead, figures, sections, exemplars)
    (output / "index.html").write_text(page, encoding="utf-8")


def _some(rng: random.Random, answers: list[Answer], count: int) -> list[Answer]:
    return rng.sample(answers, min(count, len(answers)))


def _heading(text: str) -> None:
    console.print(f"\n[bold]{text}[/]")


if __name__ == "__main__":
    typer.run(demonstrate)
