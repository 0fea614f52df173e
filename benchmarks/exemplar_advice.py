"""Is the advice about exemplars any good? How often the server warns of pictures made bad, and of good ones.

`python -m benchmarks.exemplar_advice OMNIGLOT EMOJI --bundle models/omniglot-held-out` serves the bundle and has
pictures checked as a caller would. Of each set one half of the classes is for choosing thresholds (`--half choosing`)
and the other for reporting; of the alphabets that the bundle's training held out, every other one likewise. Only
those are compared with each other, since the model has seen the rest. It knows handwriting: what it says of two emoji
is shown for completeness.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from benchmarks import degradations as made
from benchmarks.results import record
from demo.characters import Character, read_characters
from demo.server_process import ServerProcess
from exemplar import Client, Enrollment, ExemplarWarning, WarningKind
from exemplar_encoder import Bundle

# A gallery of emoji has as many classes as a typical alphabet.
EMOJI_CLASSES = 24
# Each of a class's first `ROUNDS` pictures is its exemplar once, and `SECONDS` others are asked about.
ROUNDS, SECONDS = 4, 3

Degradation = Callable[[Image.Image], bytes]
Tallies = defaultdict[tuple[str, str], "Tally"]

NEAR_DUPLICATES: dict[str, Degradation] = {
    "JPEG at quality 75": lambda image: made.reencoded(image, 75),
    "JPEG at quality 30": lambda image: made.reencoded(image, 30),
    "moved by 3 % of the side": lambda image: made.shifted(image, 0.03),
    "resampled to twice the size": lambda image: made.scaled(image, 2.0),
    "resampled to 0.8 of the size": lambda image: made.scaled(image, 0.8),
    "turned by 2 degrees": lambda image: made.turned(image, 2.0),
}


class Half(StrEnum):
    """The use of the pictures; no class is in both halves."""

    CHOOSING = "choosing"
    REPORTING = "reporting"

    @property
    def first(self) -> int:
        """The position where it begins; it has every other one from there."""
        return 0 if self is Half.CHOOSING else 1


@dataclass
class Tally:
    """How many pictures were warned of, and how many were looked at."""

    warned: int = 0
    of: int = 0

    def add(self, warned: bool) -> None:
        """Count a picture."""
        self.warned += warned
        self.of += 1


def main(
    omniglot: Annotated[Path, typer.Argument(help="Omniglot, folder or zip.")],
    emoji: Annotated[Path, typer.Argument(help="Emoji, .../CLASS/DESIGN.png, folder or zip.")],
    bundle: Annotated[Path, typer.Option(help="The bundle.")] = Path("models/omniglot-held-out"),
    half: Annotated[Half, typer.Option(help="Which half of the classes.")] = Half.REPORTING,
    pictures: Annotated[int, typer.Option(min=1, help="Pictures of each set to look at one by one.")] = 500,
) -> None:
    """Measure."""
    held_out = sorted(Bundle.load(bundle).manifest.training["held_out"])[half.first :: 2]
    tallies: Tallies = defaultdict(Tally)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        sets = {
            "Omniglot": read_characters(omniglot, folder / "omniglot", [])[half.first :: 2],
            "emoji": read_characters(emoji, folder / "emoji", [])[half.first :: 2],
        }
        alphabets = read_characters(omniglot, folder / "omniglot", held_out)
        galleries = {
            "Omniglot": [[each for each in alphabets if each.alphabet == name] for name in held_out],
            "emoji": [_draw(sets["emoji"], 2 * EMOJI_CLASSES, seed) for seed in range(len(held_out))],
        }
        with (
            ServerProcess(bundle, folder / "data") as server,
            Client(server.address) as client,
        ):
            for column, classes in sets.items():
                look(client, column, _draw(classes, pictures, 0), half.first, tallies)
                for number, members in enumerate(galleries[column]):
                    compare(client, column, f"{column.lower()}-{number}", members, tallies)
    show(half, held_out, tallies)


def look(client: Client, column: str, classes: Sequence[Character], seed: int, tallies: Tallies) -> None:
    """Have one picture a class judged by itself, clean and made bad; the seed is for the blank pages."""
    rng = np.random.default_rng(seed)
    bad: dict[str, tuple[WarningKind, Degradation]] = {
        "a blank page with noise of 3 gray levels": (WarningKind.BLANK, lambda image: made.blank(image, rng)),
        "a blank page with 1 to 5 specks, to 2 % of the side": (
            WarningKind.BLANK,
            lambda image: made.specks(image, rng),
        ),
        "shrunk to 24 pixels": (WarningKind.TINY, lambda image: made.shrunk(image, 24)),
        "shrunk to 40 pixels": (WarningKind.TINY, lambda image: made.shrunk(image, 40)),
        "blurred, sigma 2 % of the side": (WarningKind.BLURRED, lambda image: made.blurred(image, 0.02)),
        "blurred, sigma 4 % of the side": (WarningKind.BLURRED, lambda image: made.blurred(image, 0.04)),
        "blurred, sigma 6 % of the side": (WarningKind.BLURRED, lambda image: made.blurred(image, 0.06)),
    }
    for each in classes:
        content = each.exemplar.read_bytes()
        found = {warning.kind for warning in client.check(content).warnings}
        for kind in (WarningKind.BLANK, WarningKind.TINY, WarningKind.BLURRED):
            tallies[f"false {kind}: a clean picture", column].add(kind in found)
        for name, (kind, degrade) in bad.items():
            found = {warning.kind for warning in client.check(degrade(made.opened(content))).warnings}
            tallies[f"{kind}: {name}", column].add(kind in found)


def compare(client: Client, column: str, name: str, classes: Sequence[Character], tallies: Tallies) -> None:
    """Enroll every other class and offer pictures of all as exemplars of new classes."""
    for turn in range(ROUNDS):
        gallery = f"{name}-{turn}"
        client.create_gallery(gallery)
        shown = {each.class_id: _turned(each, turn) for each in classes}
        enrolled = [each.class_id for each in classes[::2]]
        client.enroll_many(gallery, [Enrollment(class_id, shown[class_id][0]) for class_id in enrolled])
        for class_id, (exemplar, *seconds) in shown.items():
            if class_id not in enrolled:
                for picture in (exemplar, *seconds):
                    kinds = {warning.kind for warning in _others(client, picture, gallery)}
                    for kind in (WarningKind.DUPLICATE, WarningKind.TOO_CLOSE):
                        tallies[f"false {kind}: a picture of another class", column].add(kind in kinds)
                continue
            found = _naming(class_id, _others(client, exemplar, gallery))
            tallies["DUPLICATE: the very same file", column].add(WarningKind.DUPLICATE in found)
            for how, degrade in NEAR_DUPLICATES.items():
                found = _naming(class_id, _others(client, degrade(made.opened(exemplar)), gallery))
                tallies[f"DUPLICATE: {how}", column].add(WarningKind.DUPLICATE in found)
                tallies[f"DUPLICATE or TOO_CLOSE: {how}", column].add(bool(found))
            for second in seconds:
                found = _naming(class_id, _others(client, second, gallery))
                tallies["DUPLICATE or TOO_CLOSE: another picture of an enrolled class", column].add(bool(found))
                tallies["false DUPLICATE: another picture of it", column].add(WarningKind.DUPLICATE in found)


def show(half: Half, alphabets: Sequence[str], tallies: Tallies) -> None:
    """Print the table and write the figures."""
    names = list(dict.fromkeys(name for name, _ in tallies))
    names.sort(key=lambda name: (name.startswith("false "), name.startswith("DUPLICATE or ")))
    columns = ("Omniglot", "emoji")
    rows = [[name, *(f"{tallies[name, c].warned / tallies[name, c].of:.1%}" for c in columns)] for name in names]
    figures = {
        name: {c: {"warned": tallies[name, c].warned, "of": tallies[name, c].of} for c in columns} for name in names
    }
    title = f"Pictures warned of, in the half for {half}; compared within {', '.join(alphabets)}"
    content = {"half": half, "alphabets": list(alphabets), "warned": figures}
    record(f"exemplar_advice_{half}", title, ["the warning, and what was checked", *columns], rows, content)


def _others(client: Client, picture: bytes, gallery: str) -> Sequence[ExemplarWarning]:
    return [warning for warning in client.check(picture, gallery=gallery).warnings if warning.other_class_id]


def _naming(class_id: str, warnings: Sequence[ExemplarWarning]) -> set[WarningKind]:
    return {warning.kind for warning in warnings if warning.other_class_id == class_id}


def _turned(character: Character, turn: int) -> list[bytes]:
    """Return the class's picture of this turn, which is to be its exemplar, and some others."""
    paths = [character.exemplar, *character.queries]
    return [path.read_bytes() for path in (paths[turn:] + paths[:turn])[: 1 + SECONDS]]


def _draw(classes: Sequence[Character], count: int, seed: int) -> list[Character]:
    chosen = np.random.default_rng(seed).permutation(len(classes))[:count]
    return [classes[index] for index in chosen]


if __name__ == "__main__":
    typer.run(main)
