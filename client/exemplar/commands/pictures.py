"""Pictures as the command line names them: files, and the parts of them that `--region` means."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from exemplar import ExemplarError, InvalidArgumentError, Part, Region
from exemplar.images import Image

# Where a request holds a picture, in the words of the server's errors.
_PLACE = re.compile(r"(?:query\.)?image(?:s\[(\d+)\])?(?:\.region)?: ")


def parse_region(text: str | Region) -> Region:
    """Read a region as `Region.parse` does.

    Raises:
        typer.BadParameter: It is none.
    """
    if isinstance(text, Region):  # typer parses again what it has parsed
        return text
    try:
        return Region.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def region_option(help: str) -> Any:
    """Return the option `--region` with its help."""
    return typer.Option(
        "--region", parser=parse_region, metavar="LEFT,TOP,WIDTH,HEIGHT", help=help, show_default=False
    )


Regions = Annotated[
    list[Region] | None,
    region_option(
        "The part of each picture that is meant: in pixels, or with a % to each number in percent; may be repeated."
    ),
]


@dataclass(frozen=True)
class Picture:
    """A file, and the part of it that is meant; None for the whole."""

    file: str
    region: Region | None = None

    def image(self) -> Image:
        """Return it as the client takes it."""
        return Part(self.file, self.region) if self.region else self.file

    def __str__(self) -> str:
        """Name it for people."""
        return f"{self.file} {written(self.region)}" if self.region else self.file


def pictures(files: Sequence[str], regions: Sequence[Region | None] | None) -> list[Picture]:
    """Return every region of every file, or the files whole where there is no region."""
    return [Picture(file, region) for file in files for region in (regions or [None])]


def sentence(error: ExemplarError, asked: Sequence[Picture]) -> str:
    """Return an error's message, with a picture named by its file instead of by its place in the request."""
    place = _PLACE.match(error.message)
    index = int(place[1] or 0) if place else len(asked)
    return f"{asked[index]}: {error.message[place.end() :]}" if place and index < len(asked) else error.message


@contextmanager
def named_pictures(asked: Sequence[Picture]) -> Iterator[None]:
    """Name pictures by their files where the server refuses one of them."""
    try:
        yield
    except InvalidArgumentError as error:
        error.message = sentence(error, asked)
        raise


def written(region: Region) -> str:
    """Write a region as `--region` takes it."""
    numbers = (region.left, region.top, region.width, region.height)
    if region.unit == "fraction":
        return ",".join(f"{100 * number:.6g}%" for number in numbers)
    return ",".join(f"{number:g}" for number in numbers)
